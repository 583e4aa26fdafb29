"""How well orders were executed: what share was filled, how far from the expected price, how
fast. Read straight from the orders; see docs/analytics.md for each number's definition."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from common.money import divide
from common.sql import rows

# percentile_disc gives a value that really occurred, exactly; percentile_cont would be a float.
QUALITY = """
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
  avg(o.slippage_pips)::numeric(38, 18) AS unit_avg, avg(its.slip)::numeric(38, 18) AS bps_avg,
  percentile_disc(0.5) WITHIN GROUP (ORDER BY o.slippage_pips) AS unit_p50,
  percentile_disc(0.5) WITHIN GROUP (ORDER BY its.slip) AS bps_p50,
  percentile_disc(0.95) WITHIN GROUP (ORDER BY o.slippage_pips) AS unit_p95,
  percentile_disc(0.95) WITHIN GROUP (ORDER BY its.slip) AS bps_p95,
  percentile_disc(0.5) WITHIN GROUP (ORDER BY its.to_wire) AS to_wire_p50_ms,
  percentile_disc(0.99) WITHIN GROUP (ORDER BY its.to_wire) AS to_wire_p99_ms,
  percentile_disc(0.5) WITHIN GROUP (ORDER BY its.to_fill) AS to_fill_p50_ms,
  percentile_disc(0.99) WITHIN GROUP (ORDER BY its.to_fill) AS to_fill_p99_ms
FROM execution_order o
JOIN connections_executionconnection c ON c.id = o.connection_id
CROSS JOIN LATERAL (SELECT
  CASE WHEN o.slippage_pips IS NOT NULL AND o.expected_price > 0 THEN
    round((o.avg_fill_price - o.expected_price) / o.expected_price * 10000
      * CASE o.side WHEN 'BUY' THEN 1 ELSE -1 END, 18) END AS slip,
  extract(epoch FROM o.submitted_at - o.created_at) * 1000 AS to_wire,
  extract(epoch FROM o.filled_at - o.submitted_at) * 1000 AS to_fill) AS its
WHERE o.leg LIKE 'entry%%' AND o.created_at >= %(start)s AND o.created_at < %(end)s
  AND (%(all)s OR o.connection_id = ANY(%(connections)s::uuid[]))
GROUP BY GROUPING SETS ((c.type, o.pair), (c.type), ())
ORDER BY c.type NULLS FIRST, o.pair NULLS FIRST
"""


@dataclass(frozen=True, slots=True)
class Quality:
    """Entry orders of one broker kind and pair; None: of all kinds or pairs together.

    slippage in slippage_unit, + is worse: basis points where several units meet.
    to_wire: order written → sent; to_fill: sent → filled.
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
        """Filled / sent: denied and skipped candidates never asked the broker. None: none sent."""
        return divide(Decimal(self.filled), Decimal(self.sent)) if self.sent else None


def execution_quality(
    start: datetime, end: datetime, *, connection_ids: Sequence[UUID] | None = None
) -> list[Quality]:
    """Return the quality of entries written in [start, end) (machine time): the first row of all
    together, then each broker kind followed by its pairs. Without any order there is no row.

    connection_ids: those that the caller may see; None: all (operators).
    """
    found = rows(
        QUALITY,
        {
            "start": start,
            "end": end,
            "all": connection_ids is None,
            "connections": list(connection_ids or ()),
        },
    )
    return [_quality(row) for row in found if row.candidates]


def _quality(row: Any) -> Quality:
    """Of orders of several units the slippage is told in basis points."""
    told = row._asdict()
    by_unit, by_price = (
        {f"slippage_{name}": told.pop(f"{unit}_{name}") for name in ("avg", "p50", "p95")}
        for unit in ("unit", "bps")
    )
    return Quality(**told, **(by_price if row.slippage_unit == "BPS" else by_unit))
