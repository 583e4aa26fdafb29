"""The figures of a feed's record, from its trades. Pure; docs/records.md defines each.

Every signal counts the same: results are sums of percents of the entry price and of R, without
compounding. A trade belongs to the month in which it ended, and to the hour of its publication.

Stored figures are compared with those computed again (`record_proof.py`). A version that computes
one otherwise, or a new one, deletes the stored ones in a migration; the next run stores them again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from common.money import divide

ZERO = Decimal(0)
FEWEST = 5
"""Figures about fewer people are hidden: they would show what one of them did."""


class RecordTrade(NamedTuple):
    """A followed signal. state: OPEN, CLOSED, NOT_ENTERED or UNKNOWN. Market time, UTC.

    real_*: of the subscribers who traded it, one value for each person; None: fewer than FEWEST.
    """

    signal_id: int
    pair: str
    published_at: datetime
    ended_at: datetime | None
    state: str
    percent: Decimal | None
    r: Decimal | None
    marks: Sequence[str]
    real_low: Decimal | None
    real_median: Decimal | None
    real_high: Decimal | None
    slippage: Decimal | None


@dataclass(slots=True)
class Line:
    """A line of a table: of a month, a pair or an hour."""

    name: str
    trades: int = 0
    wins: int = 0
    percent: Decimal = ZERO
    r: Decimal = ZERO

    def add(self, trade: RecordTrade) -> None:
        """Add a closed trade."""
        assert trade.percent is not None
        self.trades += 1
        self.wins += trade.percent > 0
        self.percent += trade.percent
        self.r += trade.r or ZERO


@dataclass(slots=True)
class Figures:
    """All figures. Percent: of the entry price; drawdowns are positive; slippage: basis points."""

    closed: int = 0
    wins: int = 0
    losses: int = 0
    percent: Decimal = ZERO
    r: Decimal = ZERO
    with_r: int = 0
    gained: Decimal = ZERO
    lost: Decimal = ZERO
    drawdown_percent: Decimal = ZERO
    drawdown_r: Decimal = ZERO
    open: int = 0
    open_percent: Decimal = ZERO
    not_entered: int = 0
    unknown: int = 0
    marked: int = 0
    unmarked_percent: Decimal = ZERO
    real_trades: int = 0
    real_low: Decimal = ZERO
    real_median: Decimal = ZERO
    real_high: Decimal = ZERO
    real_compared: Decimal = ZERO
    slippage: Decimal | None = None
    slippage_low: Decimal | None = None
    slippage_high: Decimal | None = None
    months: list[Line] = field(default_factory=list)
    pairs: list[Line] = field(default_factory=list)
    hours: list[Line] = field(default_factory=list)

    @property
    def win_rate(self) -> Decimal | None:
        """Trades with a gain / closed trades; None without one."""
        return divide(Decimal(self.wins), Decimal(self.closed)) if self.closed else None

    @property
    def profit_factor(self) -> Decimal | None:
        """Sum of gains / sum of losses; None without a loss."""
        return divide(self.gained, self.lost) if self.lost else None

    @property
    def expectancy_r(self) -> Decimal | None:
        """R of a trade on average, over trades with a stop; None without one."""
        return divide(self.r, Decimal(self.with_r)) if self.with_r else None


class _Peak:
    """The largest fall of a sum from its highest value so far; it begins at 0."""

    def __init__(self) -> None:
        self.total = self.highest = self.drawdown = ZERO

    def add(self, value: Decimal) -> None:
        self.total += value
        self.highest = max(self.highest, self.total)
        self.drawdown = max(self.drawdown, self.highest - self.total)


def figures_of(trades: Iterable[RecordTrade]) -> Figures:
    """Return the figures. trades: in the order in which they ended, then by signal."""
    found, percent, r = Figures(), _Peak(), _Peak()
    tables: dict[str, dict[str, Line]] = {"months": {}, "pairs": {}, "hours": {}}
    slippages = []
    for trade in trades:
        found.marked += bool(trade.marks)
        if trade.slippage is not None:
            slippages.append(trade.slippage)
        if trade.state != "CLOSED" or trade.percent is None:
            _count_other(found, trade)
            continue
        _add_closed(found, trade)
        percent.add(trade.percent)
        r.add(trade.r or ZERO)
        assert trade.ended_at is not None
        names = (f"{trade.ended_at:%Y-%m}", trade.pair, f"{trade.published_at:%H}")
        for table, name in zip(tables.values(), names, strict=True):
            table.setdefault(name, Line(name)).add(trade)
    found.drawdown_percent, found.drawdown_r = percent.drawdown, r.drawdown
    _set_slippage(found, sorted(slippages))
    for name, table in tables.items():
        setattr(found, name, [table[key] for key in sorted(table)])
    return found


def _set_slippage(found: Figures, trades: Sequence[Decimal]) -> None:
    """Set the median and the ends of the middle half. trades: each one's median, in order."""
    if trades:
        last = len(trades) - 1
        found.slippage = trades[last // 2]
        found.slippage_low, found.slippage_high = trades[last // 4], trades[last - last // 4]


def _count_other(found: Figures, trade: RecordTrade) -> None:
    if trade.state == "OPEN":
        found.open += 1
        found.open_percent += trade.percent or ZERO
    elif trade.state == "NOT_ENTERED":
        found.not_entered += 1
    else:
        found.unknown += 1


def _add_closed(found: Figures, trade: RecordTrade) -> None:
    assert trade.percent is not None
    found.closed += 1
    found.wins += trade.percent > 0
    found.losses += trade.percent < 0
    found.percent += trade.percent
    found.gained += max(trade.percent, ZERO)
    found.lost += max(-trade.percent, ZERO)
    if trade.r is not None:
        found.r += trade.r
        found.with_r += 1
    if not trade.marks:
        found.unmarked_percent += trade.percent
    if trade.real_median is not None and trade.real_low is not None:
        found.real_trades += 1
        found.real_low += trade.real_low
        found.real_median += trade.real_median
        found.real_high += trade.real_high or ZERO
        found.real_compared += trade.percent


def to_json(figures: Figures) -> dict[str, Any]:
    """Return the figures as JSON values: amounts as texts."""
    return {name: _json(value) for name, value in asdict(figures).items()}


def from_json(values: dict[str, Any]) -> Figures:
    """Return the figures that `to_json` has stored."""
    read: dict[str, Any] = {}
    for name, value in values.items():
        if name in ("months", "pairs", "hours"):
            read[name] = [
                Line(one["name"], one["trades"], one["wins"], Decimal(one["percent"]),
                     Decimal(one["r"]))
                for one in value
            ]  # fmt: skip
        else:
            read[name] = Decimal(value) if isinstance(value, str) else value
    return Figures(**read)


def _json(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dict):
        return {name: _json(one) for name, one in value.items()}
    return [_json(one) for one in value] if isinstance(value, list) else value
