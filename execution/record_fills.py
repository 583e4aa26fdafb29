"""What the subscribers of a feed really got from its signals: one value for each person.

Paper accounts and the accounts of the feed's owner do not count. A person with several accounts
counts once, by what all of them hold.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from common.db.sql import Query, array, rows
from connections.selectors import connection_join_sql
from positions.joins import trade_sql


class RealFills(NamedTuple):
    """A signal's real trades. persons: how many closed theirs; results in percent of the entry.

    low, high: 25th and 75th percentile. entry: the median entry price. slippage: the median of
    `measured` persons, basis points, + is worse.
    """

    signal_id: int
    persons: int
    low: Decimal | None
    median: Decimal | None
    high: Decimal | None
    entry: Decimal | None
    measured: int
    slippage: Decimal | None


_HELD = trade_sql(
    "e",
    "sum(p.realized_pnl) AS pnl, bool_and(p.closed_at IS NOT NULL) AS is_closed,"
    " sum(p.opened_quantity * p.conversion_rate) AS rated, sum(p.opened_quantity) AS quantity",
)
# price: of all entries; that of a position is of the lots that remained to the end.
# Entries are found by the index one_entry, positions by position_of_entry.
REAL_FILLS = Query(
    RealFills,
    f"""
WITH entry AS MATERIALIZED (
  SELECT o.signal_id, o.connection_id, round(avg((o.avg_fill_price - o.expected_price)
    / nullif(o.expected_price, 0) * 10000 * CASE o.side WHEN 'BUY' THEN 1 ELSE -1 END)
    FILTER (WHERE o.slippage_pips IS NOT NULL), 10) AS slippage,
    sum(o.filled_quantity * o.avg_fill_price) / sum(o.filled_quantity) AS price
  FROM execution_order o
  WHERE o.signal_id = ANY(%(signals)s::bigint[]) AND o.leg LIKE 'entry%%' AND o.filled_quantity > 0
  GROUP BY 1, 2
), person AS (
  SELECT e.signal_id, c.user_id, round(avg(e.slippage), 10) AS slippage,
    CASE WHEN bool_and(h.is_closed)
      THEN round(sum(h.pnl) / nullif(sum(h.rated * e.price), 0) * 100, 10) END AS result,
    sum(h.quantity * e.price) / nullif(sum(h.quantity), 0) AS entry_price
  FROM entry e {connection_join_sql("e.connection_id")}
  CROSS JOIN LATERAL ({_HELD}) h
  WHERE c.type <> 'paper' AND c.user_id IS NOT NULL AND c.user_id <> %(owner)s
  GROUP BY 1, 2
)
SELECT signal_id, count(result)::int AS persons,
  percentile_disc(0.25) WITHIN GROUP (ORDER BY result) AS low,
  percentile_disc(0.5) WITHIN GROUP (ORDER BY result) AS median,
  percentile_disc(0.75) WITHIN GROUP (ORDER BY result) AS high,
  percentile_disc(0.5) WITHIN GROUP (ORDER BY entry_price) FILTER (WHERE result IS NOT NULL)
    AS entry,
  count(slippage)::int AS measured,
  percentile_disc(0.5) WITHIN GROUP (ORDER BY slippage) AS slippage
FROM person GROUP BY signal_id
""",
)


def real_fills(signal_ids: Sequence[int], *, owner_id: int) -> dict[int, RealFills]:
    """Return what subscribers got, by signal. owner_id: of the feed. Needs all tenants' rows."""
    found = rows(REAL_FILLS, {"signals": array(signal_ids), "owner": owner_id})
    return {row.signal_id: row for row in found}
