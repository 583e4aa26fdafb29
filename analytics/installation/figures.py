"""The figures of the installation over UTC days. docs/analytics.md defines each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, localcontext

from analytics.installation.sketch import (
    BASIS_POINTS,
    PIPS,
    TO_FILL,
    TO_WIRE,
    Counts,
    by_kind,
    percentile,
)
from analytics.installation.sums import Scope as Scope
from analytics.installation.sums import SumRow, Sums, counted_until, sums_of
from analytics.models import ExecutionDay
from common.money import DIGITS, divide, to_stored
from connections.models import ExecutionConnection

Part = ExecutionDay.Part
LINES = 25  # of a part; of the others only the sum is known
P50, P95, P99 = Decimal("0.5"), Decimal("0.95"), Decimal("0.99")
PLACE_NAMES = {"1": "1 to 10", "2": "11 to 100", "3": "101 to 1,000", "4": "beyond 1,000"}


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
    scope: Scope,
    *,
    parts: Sequence[str] = tuple(Part),
    of_exits: bool = False,
    limit: int = LINES,
) -> InstallationReport:
    """Return the figures of a scope: of entries, of exits, and of the parts of one of the two.

    limit: the most lines of a part.
    """
    until = counted_until(scope)
    if until is None:
        return InstallationReport(scope, None, None, None)
    divided = [part for part in parts if part != Part.ALL]
    asked = [(Part.ALL, False), (Part.ALL, True), *((part, of_exits) for part in divided)]
    found = sums_of(scope, asked, limit=limit)
    return InstallationReport(
        scope,
        until,
        _all(found, is_exit=False),
        _all(found, is_exit=True),
        [_part_figures(part, found.get((part, of_exits), [])) for part in divided],
    )


def _all(found: Sums, *, is_exit: bool) -> Figures | None:
    return next((_figures(row, row.value) for row in found.get((Part.ALL, is_exit), [])), None)


def _part_figures(part: str, found: Sequence[SumRow]) -> PartFigures:
    labels = _labels(part, [row.value for row in found])
    lines = [_figures(row, labels.get(row.value, row.value)) for row in found]
    if part in (Part.HOUR, Part.PLACE):
        lines.sort(key=lambda line: line.value)
    more = found[0].lines - len(found) if found else 0
    return PartFigures(part, str(Part(part).label), lines, more)


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
