"""The statements of `broker_exits.py`, with the types of their rows."""

from decimal import Decimal
from typing import Any, NamedTuple

from common.db.sql import IdRow, Query
from connections.selectors import account_join_sql
from execution.base.statements import opens_position_sql
from execution.reports.inferred_closes import IS_INFERRED_CLOSE
from positions.joins import entry_position_join_sql, position_join_sql

# Fills of an order may be reported this long after its end; then nothing waits for them any more.
FILL_AFTER_END_SECONDS = 60


class EntryRow(NamedTuple):
    """An entry, its position if it has one, and whether fills of this may still be reported."""

    client_order_id: str
    connection_id: str
    position_id: int | None
    may_fill: bool


class ClosedPosition(NamedTuple):
    """A position that a report closes. inferred_quantity: what inferred closes have closed of it,
    which exits reported now may replace. exits: all of its exits' rows, as JSON. currency: of its
    account; None: it was not read yet."""

    id: int
    connection_id: str
    quantity: Decimal
    opened_quantity: Decimal
    sl: Decimal | None
    tp: Decimal | None
    tp_number: int
    inferred_quantity: Decimal
    exits: list[dict[str, Any]] | None
    pair: str
    price_source_id: int | None
    currency: str | None


class KnownFill(NamedTuple):
    """A fill that is stored already."""

    connection_id: str
    broker_fill_id: str
    revision: int
    quantity: Decimal


class InsertedExit(NamedTuple):
    """An exit's order row that was inserted just now."""

    id: int
    position_id: int
    leg: str


def may_grow_sql(position: str) -> str:
    """Return SQL: whether executions of a position's entry, or of a slice of it that was sent, may
    still be reported: it is working, has just ended, or its broker is still asked.

    LIMIT 1 keeps the look-up by key, as in `opening_entry_sql`.
    """
    return f"""coalesce((SELECT true FROM execution_order entry
  WHERE {opens_position_sql("entry", position)} AND entry.status <> 'PENDING'
    AND entry.submitted_at IS NOT NULL
    AND entry.quantity > entry.filled_quantity AND (entry.lookup_after IS NOT NULL OR coalesce(
      entry.done_at > clock_timestamp() - interval '{FILL_AFTER_END_SECONDS} s', true))
  LIMIT 1), false)"""


ENTRIES = Query(
    EntryRow,
    f"""
SELECT e.client_order_id, e.connection_id::text, p.id AS position_id,
  {may_grow_sql("p")} AS may_fill
FROM execution_order e
LEFT {entry_position_join_sql("e")}
WHERE e.client_order_id = ANY(%s)
""",
)

# Every order of the reports, and the exits that they may add to, before any position is locked.
LOCK_ORDERS = Query(
    IdRow,
    f"""
SELECT id FROM execution_order WHERE id IN (
  SELECT id FROM execution_order WHERE client_order_id = ANY(%(ids)s::text[])
  UNION
  SELECT x.id FROM execution_order e
  {entry_position_join_sql("e")}
  JOIN execution_order x ON x.position_id = p.id
  WHERE e.client_order_id = ANY(%(ids)s::text[]) AND e.position_id IS NULL
    AND x.broker_order_id = ANY(%(broker_ids)s::text[]))
ORDER BY id FOR NO KEY UPDATE
""",
)

LOAD = Query(
    ClosedPosition,
    f"""
SELECT p.id, p.connection_id::text, p.quantity, p.opened_quantity, p.sl, p.tp, p.tp_number,
  coalesce(x.inferred_quantity, 0) AS inferred_quantity, x.exits, p.pair, p.price_source_id,
  a.currency
FROM positions_executionposition p {account_join_sql("p.connection_id")}
LEFT JOIN LATERAL (
  SELECT jsonb_agg(jsonb_build_object('id', o.id, 'leg', o.leg,
      'broker_order_id', o.broker_order_id, 'filled', o.filled_quantity::text,
      'inferred', o.inferred_quantity::text, 'is_inferred_close', {IS_INFERRED_CLOSE})) AS exits,
    sum(o.filled_quantity) FILTER (WHERE {IS_INFERRED_CLOSE}) AS inferred_quantity
  FROM execution_order o WHERE o.position_id = p.id) x ON true
WHERE p.id = ANY(%s)
""",
)

KNOWN = Query(
    KnownFill,
    """
SELECT f.connection_id::text, f.broker_fill_id, f.revision, f.quantity
FROM unnest(%s::uuid[], %s::text[]) AS reported(connection_id, broker_fill_id)
JOIN (SELECT connection_id, broker_fill_id, revision, quantity FROM execution_fill
  UNION ALL SELECT connection_id, broker_fill_id, revision, 0 FROM execution_voidedfill) f
  USING (connection_id, broker_fill_id)
ORDER BY f.revision
""",
)

# Reserved quantities are recomputed when the reports have been applied.
INSERT = Query(
    InsertedExit,
    f"""
INSERT INTO execution_order (signal_id, connection_id, position_id, leg, priority, pair, symbol,
  side, order_type, time_in_force, quantity, expected_price, pip, conversion_rate, status,
  broker_order_id, submitted_at)
SELECT p.signal_id, p.connection_id, p.id, w.leg, 1, p.pair, p.symbol,
  CASE p.side WHEN 'BUY' THEN 'SELL' ELSE 'BUY' END,
  CASE WHEN w.leg LIKE 'sl%%' THEN 'STOP' WHEN w.leg LIKE 'tp%%' THEN 'LIMIT' ELSE 'MARKET' END,
  'GTC', w.quantity, w.expected_price, p.pip, coalesce(w.rate, p.conversion_rate), 'SUBMITTED',
  w.broker_order_id, clock_timestamp()
FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::numeric[], %s::numeric[], %s::numeric[])
  AS w(position_id, leg, broker_order_id, quantity, expected_price, rate)
{position_join_sql("w.position_id")}
ORDER BY p.id, w.leg
RETURNING id, position_id, leg
""",
)

# Never below its filled quantity: `position_rebuild.SHRINK` does that once fills are corrected.
GROW = """
UPDATE execution_order o SET quantity = greatest(o.quantity + w.growth, o.filled_quantity)
FROM unnest(%s::bigint[], %s::numeric[]) AS w(id, growth) WHERE o.id = w.id
"""
