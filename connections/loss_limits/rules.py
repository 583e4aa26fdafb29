"""Decide whether a loss limit is reached: windows, values and their maximum. Pure.

All amounts are in the account's currency. docs/loss-limits.md has the formulas, with examples.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Protocol

from common.currencies import money_places
from common.figure_names import Limit
from common.limit_figures import Figures
from common.money import plain, rounded_apart
from common.reason_codes import Code
from connections.models import LossBasis, LossMeasure, LossUnit, LossWindow, ResumeRule
from connections.trading_day import DayRule, bounds, trading_date

ZERO, HUNDRED = Decimal(0), Decimal(100)
HOUR = timedelta(hours=1)
ROLLING = {
    LossWindow.DAY: timedelta(days=1),
    LossWindow.WEEK: timedelta(days=7),
    LossWindow.MONTH: timedelta(days=30),
    LossWindow.QUARTER: timedelta(days=91),
    LossWindow.YEAR: timedelta(days=365),
}
MONTHS = {
    LossWindow.MONTH_TO_DATE: 1,
    LossWindow.QUARTER_TO_DATE: 3,
    LossWindow.YEAR_TO_DATE: 12,
}


class LossRule(Protocol):
    """The settings of a loss limit that decide."""

    @property
    def window(self) -> str: ...
    @property
    def measure(self) -> str: ...
    @property
    def basis(self) -> str: ...
    @property
    def maximum(self) -> Decimal: ...
    @property
    def unit(self) -> str: ...
    @property
    def resume(self) -> str: ...


@dataclass(frozen=True, slots=True)
class LossFigures:
    """An account in a window.

    balance, equity: now. opening_*, peak_*: in the window, plus the deposits and minus the
    withdrawals since then, so that they compare with the present values; None: the account was not
    read in the window. realized_loss: of closed trades, above 0 for a loss. losing_streak: losing
    trades in a row, up to now.
    """

    balance: Decimal
    equity: Decimal
    opening_balance: Decimal | None = None
    opening_equity: Decimal | None = None
    peak_balance: Decimal | None = None
    peak_equity: Decimal | None = None
    realized_loss: Decimal = ZERO
    losing_streak: int = 0


@dataclass(frozen=True, slots=True)
class Breach:
    """A limit that is reached. value, maximum: in the unit of the limit."""

    code: Code
    value: Decimal
    maximum: Decimal


def window_start(window: str, at: datetime, rule: DayRule) -> datetime | None:
    """Return when the window that an aware time lies in began; None: it has no beginning.

    Rolling windows begin at a full hour. The others begin with a trading day: of the date, of the
    Monday, of the first day of a month, quarter or year.
    """
    if window == LossWindow.LIFETIME:
        return None
    if length := ROLLING.get(LossWindow(window)):
        return _full_hour(at - length)
    return bounds(_first_date(window, trading_date(at, rule)), rule)[0]


def window_end(window: str, at: datetime, rule: DayRule) -> datetime | None:
    """Return when a pause that begins now ends by rule; None: never.

    A rolling window ends when nothing before now lies in it any more.
    """
    if window == LossWindow.LIFETIME:
        return None
    if length := ROLLING.get(LossWindow(window)):
        return _full_hour(at + length) + HOUR
    return bounds(_next_date(window, _first_date(window, trading_date(at, rule))), rule)[0]


def pause_end(limit: LossRule, at: datetime, rule: DayRule) -> datetime | None:
    """Return when the pause of a limit that is reached now ends by rule; None: by hand only."""
    return None if limit.resume == ResumeRule.BY_HAND else window_end(limit.window, at, rule)


def value_of(limit: LossRule, figures: LossFigures) -> Decimal | None:
    """Return the loss that a limit compares, in its unit; None: not known yet. Gains are below 0.

    Percents are of the balance or equity that the loss is counted from.
    """
    if limit.measure == LossMeasure.LOSING_STREAK:
        return Decimal(figures.losing_streak)
    start = _start(limit, figures)
    if limit.measure == LossMeasure.REALIZED_LOSS:
        loss = figures.realized_loss
    elif start is None:
        return None
    else:
        now = figures.balance if limit.measure == LossMeasure.BALANCE else figures.equity
        loss = start - now
    if limit.unit != LossUnit.PERCENT:
        return loss
    if start is None:
        return None
    if start <= 0:  # nothing was there to be lost: any loss is all of it
        return HUNDRED if loss > 0 else ZERO
    return loss * HUNDRED / start


def breach_of(limit: LossRule, figures: LossFigures) -> Breach | None:
    """Return the breach if the limit is reached, else None. The maximum itself reaches it."""
    value = value_of(limit, figures)
    if value is None or value < limit.maximum:
        return None
    return Breach(code_of(limit), value, limit.maximum)


def code_of(limit: LossRule) -> Code:
    """Return the reason code of entries that a limit stops."""
    if limit.measure == LossMeasure.LOSING_STREAK:
        return Code.LOSING_STREAK
    if limit.measure == LossMeasure.REALIZED_LOSS:
        return Code.REALIZED_LOSS_LIMIT
    return Code.DRAWDOWN_LIMIT if limit.basis == LossBasis.PEAK else Code.LOSS_LIMIT


def describe(name: str, breach: Breach, unit: str, currency: str) -> str:
    """Return one line: `Fall of the equity … in the trading day: 512.3 USD, maximum 500 USD`."""
    return pause_figures(name, breach.value, breach.maximum, unit, currency).text


def pause_limit(name: str, unit: str, currency: str) -> Limit:
    """Return what the figures of a pause are of."""
    units = {LossUnit.AMOUNT: currency, LossUnit.PERCENT: "%", LossUnit.TRADES: "trades"}
    return Limit(name, units[LossUnit(unit)])


def pause_figures(name: str, value: Decimal, maximum: Decimal, unit: str, currency: str) -> Figures:
    """Return the figures of a pause, or of a limit that is reached."""
    limit = pause_limit(name, unit, currency)
    places = money_places(currency) if unit == LossUnit.AMOUNT else 2
    shown = rounded_apart(value, maximum, places)
    return Figures(limit.name, plain(shown), limit.bound, plain(maximum), limit.unit)


def _start(limit: LossRule, figures: LossFigures) -> Decimal | None:
    """Return the balance or equity that the loss is counted from."""
    of_equity = limit.measure == LossMeasure.EQUITY
    if limit.basis == LossBasis.PEAK:
        return figures.peak_equity if of_equity else figures.peak_balance
    return figures.opening_equity if of_equity else figures.opening_balance


def _full_hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def _first_date(window: str, day: date) -> date:
    """Return the first date of the week, month, quarter or year of a date, or the date itself."""
    if window == LossWindow.WEEK_TO_DATE:
        return day - timedelta(days=day.weekday())
    if months := MONTHS.get(LossWindow(window)):
        return day.replace(month=(day.month - 1) // months * months + 1, day=1)
    return day


def _next_date(window: str, first: date) -> date:
    """Return the first date of the next week, month, quarter or year, or the next date."""
    if window == LossWindow.WEEK_TO_DATE:
        return first + timedelta(days=7)
    if months := MONTHS.get(LossWindow(window)):
        month = first.month + months
        return date(first.year + (month - 1) // 12, (month - 1) % 12 + 1, 1)
    return first + timedelta(days=1)
