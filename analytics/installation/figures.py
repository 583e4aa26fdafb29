"""Reads the figures of the installation over UTC days. docs/analytics.md defines each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal, localcontext
from typing import NamedTuple

from analytics.installation.compute import MARKS_SQL, OUTCOMES
from analytics.installation.sketch import (
    BASIS_POINTS,
    PIPS,
    TO_FILL,
    TO_WIRE,
    Counts,
    by_kind,
    percentile,
)
from analytics.models import ExecutionDay
from analytics.replica import replica_rows
from common.money import DIGITS, divide, to_stored
from common.sql import Query
from connections.models import ExecutionConnection

Part = ExecutionDay.Part
LINES = 25  # of a part; of the others only the sum is known
P50, P95, P99 = Decimal("0.5"), Decimal("0.95"), Decimal("0.99")
PLACE_NAMES = {"1": "1 to 10", "2": "11 to 100", "3": "101 to 1,000", "4": "beyond 1,000"}


class SumRow(NamedTuple):
    """The sums of one value of a part. keys, counts: of its sketches. lines: how many values."""

    value: str
    orders: int
    skipped: int
    denied: int
    unsent: int
    failed: int
    filled: int
    cancelled: int
    expired: int
    rejected: int
    unknown: int
    working: int
    limited: int
    beyond_limit: int
    pips_count: int
    pips_sum: Decimal
    pips_squares: Decimal
    pips_largest: Decimal | None
    bps_count: int
    bps_sum: Decimal
    bps_squares: Decimal
    bps_largest: Decimal | None
    unconverted: int
    missed: int
    missed_priced: int
    commissions: dict[str, str]
    missed_costs: dict[str, str]
    lines: int
    keys: list[int]
    counts: list[int]


class UntilRow(NamedTuple):
    """Until when a range is counted; None: no day of it was computed."""

    until: datetime | None


_ADDED = (
    "orders", *OUTCOMES, "limited", "beyond_limit", "pips_count", "pips_sum", "pips_squares",
    "bps_count", "bps_sum", "bps_squares", "unconverted", "missed", "missed_priced",
)  # fmt: skip
_RANGE = """part = %(part)s AND is_paper = %(is_paper)s AND is_exit = %(is_exit)s
    AND day >= %(start)s AND day <= %(end)s"""
_SUMS = ", ".join(f"sum({name}) AS {name}" for name in _ADDED)
_INTEGERS = {name for name in _ADDED if not name.endswith(("_sum", "_squares"))}


def _of(name: str) -> str:
    return f"sum({name})::bigint AS {name}" if name in _INTEGERS else f"sum({name}) AS {name}"


def _column(name: str) -> str:
    return name if name == "value" else f"shown.{name}" if name == "lines" else f"line.{name}"


# All else is summed of the lines shown only. First by currency, whose money is never added.
SUMS = Query(
    SumRow,
    f"""
WITH shown AS MATERIALIZED (
  SELECT value, count(*) OVER () AS lines,
    row_number() OVER (ORDER BY sum(filled) DESC, sum(orders) DESC, value)::int AS number
  FROM analytics_executionday WHERE {_RANGE} GROUP BY value HAVING sum(orders) > 0
  ORDER BY number LIMIT %(limit)s
), by_currency AS (
  SELECT value, currency, {_SUMS}, max(pips_largest) AS pips_largest,
    max(bps_largest) AS bps_largest, sum(commission) AS commission, sum(missed_cost) AS missed_cost
  FROM analytics_executionday
  WHERE {_RANGE} AND value IN (SELECT value FROM shown) GROUP BY value, currency
), line AS (
  SELECT value, {", ".join(map(_of, _ADDED))}, max(pips_largest) AS pips_largest,
    max(bps_largest) AS bps_largest,
    coalesce(jsonb_object_agg(currency, commission::text) FILTER (WHERE commission <> 0), '{{}}')
      AS commissions,
    coalesce(jsonb_object_agg(currency, missed_cost::text) FILTER (WHERE missed_priced > 0), '{{}}')
      AS missed_costs
  FROM by_currency GROUP BY value
), counted AS (  -- by numbers, which sort in a fraction of the time of texts
  SELECT s.number, k.key, sum(k.count)::bigint AS count
  FROM analytics_executionday e JOIN shown s USING (value)
  CROSS JOIN LATERAL unnest(e.sketch_keys, e.sketch_counts) k(key, count)
  WHERE {_RANGE} GROUP BY s.number, k.key
), sketch AS (
  SELECT number, array_agg(key) AS keys, array_agg(count) AS counts FROM counted GROUP BY number
)
SELECT {", ".join(_column(name) for name in SumRow._fields[:-2])},
  coalesce(keys, '{{}}') AS keys, coalesce(counts, '{{}}') AS counts
FROM shown JOIN line USING (value) LEFT JOIN sketch USING (number)
ORDER BY shown.number
""",
)
UNTIL = Query(
    UntilRow,
    f"""
SELECT max(computed_at) AS until FROM analytics_executionday
WHERE {MARKS_SQL} AND day >= %(start)s AND day <= %(end)s
""",
)


@dataclass(frozen=True, slots=True)
class Scope:
    """UTC days from start to end, both included, of real or of paper money."""

    start: date
    end: date
    is_paper: bool = False


@dataclass(frozen=True, slots=True)
class Slippage:
    """+ is worse. deviation: of the sample; percentiles to within 2.5 %. None: not measured."""

    measured: int
    average: Decimal | None
    deviation: Decimal | None
    p50: Decimal | None
    p95: Decimal | None
    largest: Decimal | None


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of market orders, to within 2.5 %; None: there were none."""

    p50: Decimal | None
    p95: Decimal | None
    p99: Decimal | None


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of all orders of a scope, or of one value of a part. Money by currency."""

    value: str
    label: str
    row: SumRow
    pips: Slippage
    bps: Slippage
    to_wire: Latency
    to_fill: Latency
    commissions: Mapping[str, Decimal]
    missed_costs: Mapping[str, Decimal]

    @property
    def sent(self) -> int:
        """Orders that reached a broker."""
        row = self.row
        return row.filled + row.cancelled + row.expired + row.rejected + row.unknown + row.working

    @property
    def not_sent(self) -> int:
        """Orders that reached no broker."""
        return self.row.orders - self.sent

    @property
    def fill_rate(self) -> Decimal | None:
        """Filled at least in part / sent; None: none was sent."""
        return self._share(self.row.filled)

    @property
    def cancelled_share(self) -> Decimal | None:
        """Cancelled or expired without a fill / sent."""
        return self._share(self.row.cancelled + self.row.expired)

    @property
    def rejected_share(self) -> Decimal | None:
        """Rejected by the broker / sent."""
        return self._share(self.row.rejected)

    def _share(self, count: int) -> Decimal | None:
        return divide(Decimal(count), Decimal(self.sent)) if self.sent else None


@dataclass(frozen=True, slots=True)
class PartFigures:
    """The lines of one part, those with most fills first. more: how many others there are."""

    part: str
    title: str
    lines: list[Figures]
    more: int


@dataclass(frozen=True, slots=True)
class InstallationReport:
    """What a page shows of a scope. until: None if no day of it was computed yet."""

    scope: Scope
    until: datetime | None
    entries: Figures | None
    exits: Figures | None
    parts: list[PartFigures] = field(default_factory=list)

    @property
    def statistics(self) -> dict[str, object]:
        """The statistics of entries and exits together."""
        both = [one for one in (self.entries, self.exits) if one is not None]
        sent, filled = sum(one.sent for one in both), sum(one.row.filled for one in both)
        slippage = _together([one.row for one in both])
        commission: dict[str, Decimal] = {}
        for one in both:
            for currency, amount in one.commissions.items():
                commission[currency] = commission.get(currency, Decimal(0)) + amount
        return {
            "total_orders": sum(one.row.orders for one in both),
            "sent_orders": sent,
            "filled_orders": filled,
            "cancelled_orders": sum(one.row.cancelled + one.row.expired for one in both),
            "rejected_orders": sum(one.row.rejected for one in both),
            "fill_rate": divide(Decimal(filled), Decimal(sent)) if sent else None,
            "avg_slippage_pips": slippage.average,
            "slippage_deviation_pips": slippage.deviation,
            "max_slippage_pips": slippage.largest,
            "total_commission": commission,
        }


def installation_report(
    scope: Scope, *, parts: Sequence[str] = tuple(Part), of_exits: bool = False
) -> InstallationReport:
    """Return the figures of a scope: of entries, of exits, and of the parts of one of the two."""
    (until,) = replica_rows(UNTIL, _parameters(scope, Part.ALL, is_exit=False))
    if until.until is None:
        return InstallationReport(scope, None, None, None)
    return InstallationReport(
        scope,
        until.until,
        _all(scope, is_exit=False),
        _all(scope, is_exit=True),
        [part_figures(scope, part, is_exit=of_exits) for part in parts if part != Part.ALL],
    )


def part_figures(
    scope: Scope, part: str, *, is_exit: bool = False, limit: int = LINES
) -> PartFigures:
    """Return the lines of one part of entries or of exits."""
    found = replica_rows(SUMS, {**_parameters(scope, part, is_exit=is_exit), "limit": limit})
    labels = _labels(part, [row.value for row in found])
    lines = [_figures(row, labels.get(row.value, row.value)) for row in found]
    if part in (Part.HOUR, Part.PLACE):
        lines.sort(key=lambda line: line.value)
    more = found[0].lines - len(found) if found else 0
    return PartFigures(part, str(Part(part).label), lines, more)


def _all(scope: Scope, *, is_exit: bool) -> Figures | None:
    lines = part_figures(scope, Part.ALL, is_exit=is_exit).lines
    return lines[0] if lines else None


def _parameters(scope: Scope, part: str, *, is_exit: bool) -> dict[str, object]:
    return {
        "part": part,
        "is_paper": scope.is_paper,
        "is_exit": is_exit,
        "start": scope.start,
        "end": scope.end,
    }


def _labels(part: str, values: Sequence[str]) -> Mapping[str, str]:
    if part == Part.PLACE:
        return PLACE_NAMES
    if part == Part.HOUR:
        return {value: f"{value}:00" for value in values}
    if part != Part.ACCOUNT:
        return {}
    found = ExecutionConnection.objects.filter(pk__in=values).values_list("pk", "name", "type")
    return {str(pk): f"{name} ({broker})" for pk, name, broker in found}


def _figures(row: SumRow, label: str) -> Figures:
    counts = by_kind(zip(row.keys, row.counts, strict=True))
    return Figures(
        row.value,
        label,
        row,
        _slippage(row.pips_count, row.pips_sum, row.pips_squares, row.pips_largest, counts[PIPS]),
        _slippage(
            row.bps_count, row.bps_sum, row.bps_squares, row.bps_largest, counts[BASIS_POINTS]
        ),
        _latency(counts[TO_WIRE]),
        _latency(counts[TO_FILL]),
        {currency: Decimal(amount) for currency, amount in sorted(row.commissions.items())},
        {currency: Decimal(amount) for currency, amount in sorted(row.missed_costs.items())},
    )


def _latency(counts: Counts) -> Latency:
    return Latency(*(percentile(counts, share) for share in (P50, P95, P99)))


def _slippage(
    count: int, total: Decimal, squares: Decimal, largest: Decimal | None, counts: Counts
) -> Slippage:
    return Slippage(
        measured=count,
        average=divide(total, Decimal(count)) if count else None,
        deviation=_deviation(count, total, squares),
        p50=percentile(counts, P50, largest=largest),
        p95=percentile(counts, P95, largest=largest),
        largest=largest,
    )


def _together(rows: Sequence[SumRow]) -> Slippage:
    return _slippage(
        sum(row.pips_count for row in rows),
        sum((row.pips_sum for row in rows), Decimal(0)),
        sum((row.pips_squares for row in rows), Decimal(0)),
        max((row.pips_largest for row in rows if row.pips_largest is not None), default=None),
        {},
    )


def _deviation(count: int, total: Decimal, squares: Decimal) -> Decimal | None:
    """Return the deviation of the sample (n − 1); None for fewer than two values."""
    if count < 2:
        return None
    with localcontext(prec=2 * DIGITS):
        variance = (squares - total * total / count) / (count - 1)
        return to_stored(max(variance, Decimal(0)).sqrt())
