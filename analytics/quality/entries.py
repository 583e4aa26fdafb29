"""Execution quality: fill rate, slippage and latency of entries, computed from the orders.

docs/analytics.md defines each figure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from analytics.replica import replica_rows
from common.db.sql import Query
from common.money import divide
from connections.selectors import connection_join_sql
from execution.entry_quality import all_entries_sql


class QualityRow(NamedTuple):
    """The figures of `Quality`, with slippage in the orders' unit and in basis points."""

    kind: str | None
    pair: str | None
    candidates: int
    sent: int
    filled: int
    denied: int
    rejected: int
    failed: int
    unknown: int
    measured: int
    slippage_unit: str
    unit_avg: Decimal | None
    bps_avg: Decimal | None
    unit_p50: Decimal | None
    bps_p50: Decimal | None
    unit_p95: Decimal | None
    bps_p95: Decimal | None
    to_wire_p50_ms: Decimal | None
    to_wire_p99_ms: Decimal | None
    to_fill_p50_ms: Decimal | None
    to_fill_p99_ms: Decimal | None


_ASKED_FOR = """o.created_at >= %(start)s AND o.created_at < %(end)s
    AND (%(all)s OR o.connection_id = ANY(%(connections)s::uuid[]))"""
# percentile_disc returns an exact value that occurred; percentile_cont would return a float.
QUALITY = Query(
    QualityRow,
    f"""
SELECT c.type AS kind, o.pair, count(*) AS candidates,
  count(o.submitted_at) AS sent,
  count(*) FILTER (WHERE o.filled_quantity > 0) AS filled,
  count(*) FILTER (WHERE o.status = 'DENIED') AS denied,
  count(*) FILTER (WHERE o.status = 'REJECTED') AS rejected,
  count(*) FILTER (WHERE o.status = 'FAILED') AS failed,
  count(*) FILTER (WHERE o.status = 'UNKNOWN') AS unknown,
  count(o.slippage_pips) AS measured, CASE WHEN count(DISTINCT o.slippage_unit) FILTER (
    WHERE o.slippage_pips IS NOT NULL) > 1 THEN 'BPS'
    ELSE coalesce(min(o.slippage_unit) FILTER (WHERE o.slippage_pips IS NOT NULL), '')
    END AS slippage_unit,
  avg(o.slippage_pips)::numeric(38, 18) AS unit_avg, avg(x.slippage)::numeric(38, 18) AS bps_avg,
  percentile_disc(0.5) WITHIN GROUP (ORDER BY o.slippage_pips) AS unit_p50,
  percentile_disc(0.5) WITHIN GROUP (ORDER BY x.slippage) AS bps_p50,
  percentile_disc(0.95) WITHIN GROUP (ORDER BY o.slippage_pips) AS unit_p95,
  percentile_disc(0.95) WITHIN GROUP (ORDER BY x.slippage) AS bps_p95,
  percentile_disc(0.5) WITHIN GROUP (ORDER BY x.to_wire) AS to_wire_p50_ms,
  percentile_disc(0.99) WITHIN GROUP (ORDER BY x.to_wire) AS to_wire_p99_ms,
  percentile_disc(0.5) WITHIN GROUP (ORDER BY x.to_fill) AS to_fill_p50_ms,
  percentile_disc(0.99) WITHIN GROUP (ORDER BY x.to_fill) AS to_fill_p99_ms
FROM ({all_entries_sql(_ASKED_FOR)}) o
{connection_join_sql("o.connection_id")}
CROSS JOIN LATERAL (SELECT
  CASE WHEN o.slippage_pips IS NOT NULL AND o.expected_price > 0 THEN
    round((o.avg_fill_price - o.expected_price) / o.expected_price * 10000
      * CASE o.side WHEN 'BUY' THEN 1 ELSE -1 END, 18) END AS slippage,
  extract(epoch FROM o.submitted_at - o.created_at) * 1000 AS to_wire,
  extract(epoch FROM o.filled_at - o.submitted_at) * 1000 AS to_fill) AS x
GROUP BY GROUPING SETS ((c.type, o.pair), (c.type), ())
ORDER BY c.type NULLS FIRST, o.pair NULLS FIRST
""",
)


@dataclass(frozen=True, slots=True)
class Quality:
    """Execution quality of the entries of one broker type and pair; None: of all of them.

    Slippage in slippage_unit, + is worse; basis points if the orders have several units. to_wire:
    from the order's creation until it was sent; to_fill: from then until it filled.
    """

    kind: str | None
    pair: str | None
    candidates: int
    sent: int
    filled: int  # at least in part
    denied: int
    rejected: int
    failed: int
    unknown: int
    measured: int  # fills whose slippage is known
    slippage_unit: str
    slippage_avg: Decimal | None
    slippage_p50: Decimal | None
    slippage_p95: Decimal | None
    to_wire_p50_ms: Decimal | None
    to_wire_p99_ms: Decimal | None
    to_fill_p50_ms: Decimal | None
    to_fill_p99_ms: Decimal | None

    @property
    def fill_rate(self) -> Decimal | None:
        """Filled / sent; None if none was sent. Denied and skipped candidates were never sent."""
        return divide(Decimal(self.filled), Decimal(self.sent)) if self.sent else None


def execution_quality(
    start: datetime, end: datetime, *, connection_ids: Sequence[UUID] | None = None
) -> list[Quality]:
    """Return the quality of the entries created in [start, end), machine time.

    The first row covers all entries; then each broker type is followed by its pairs. [] without
    entries. connection_ids: those that the caller may see; None: all (operators).
    """
    measured = replica_rows(
        QUALITY,
        {
            "start": start,
            "end": end,
            "all": connection_ids is None,
            "connections": list(connection_ids or ()),
        },
    )
    return [_quality(row) for row in measured if row.candidates]


def _quality(row: QualityRow) -> Quality:
    """Return the row with its slippage in slippage_unit."""
    values = row._asdict()
    in_unit, in_bps = (
        {f"slippage_{name}": values.pop(f"{unit}_{name}") for name in ("avg", "p50", "p95")}
        for unit in ("unit", "bps")
    )
    return Quality(**values, **(in_bps if row.slippage_unit == "BPS" else in_unit))
