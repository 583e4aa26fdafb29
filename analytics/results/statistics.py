"""Statistics of closed trades and of daily returns. Pure; docs/analytics.md has the definitions.

A figure that is not defined has no value and states why: never 0, never infinity. Money and ratios
are Decimals, rounded once to 18 places.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext

from common.money import DIGITS, divide, to_stored

ZERO, ONE = Decimal(0), Decimal(1)
DAYS_A_YEAR = 365  # trading days are dated on every day of the week: coins trade at weekends, too
LEAST_DAYS = 2  # for a deviation
LEAST_DAYS_OF_A_YEARS_RATE = 30  # fewer days would be multiplied by more than twelve

NO_TRADES = "no trade was closed"
NO_LOSSES = "no trade was lost"
NO_WINS = "no trade was won"
FEW_DAYS = f"fewer than {LEAST_DAYS} full days with a return"
FEW_DAYS_A_YEAR = f"fewer than {LEAST_DAYS_OF_A_YEARS_RATE} full days with a return"
NO_VARIANCE = "all days had the same return"
NO_LOSING_DAY = "no day had a negative return"
NO_DRAWDOWN = "equity never fell below an earlier day's"
ALL_LOST = "the return is −100 % or less"


@dataclass(frozen=True, slots=True)
class Figure:
    """A statistic. value: None if it is not defined, for the reason in `why`."""

    value: Decimal | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class TradeSums:
    """Sums of closed trades in one currency; results are net of commission and swap.

    commission: a cost is positive. swap: as the broker books it, below 0 if it was charged.
    """

    trades: int = 0
    wins: int = 0
    losses: int = 0
    gross_profit: Decimal = ZERO
    gross_loss: Decimal = ZERO  # a positive number
    commission: Decimal = ZERO
    swap: Decimal = ZERO
    seconds: Decimal = ZERO  # holding time of all trades together

    @property
    def broke_even(self) -> int:
        """Trades that neither won nor lost."""
        return self.trades - self.wins - self.losses

    @property
    def total(self) -> Decimal:
        """The net result."""
        return self.gross_profit - self.gross_loss

    @property
    def win_rate(self) -> Figure:
        """Winning trades / all trades."""
        return _ratio(Decimal(self.wins), Decimal(self.trades), NO_TRADES)

    @property
    def profit_factor(self) -> Figure:
        """Gross profit / gross loss."""
        if not self.trades:
            return Figure(None, NO_TRADES)
        return _ratio(self.gross_profit, self.gross_loss, NO_LOSSES)

    @property
    def expectancy(self) -> Figure:
        """The mean net result of a trade."""
        return _ratio(self.total, Decimal(self.trades), NO_TRADES)

    @property
    def average_win(self) -> Figure:
        """The mean net result of a winning trade."""
        return _ratio(self.gross_profit, Decimal(self.wins), NO_WINS)

    @property
    def average_loss(self) -> Figure:
        """The mean net result of a losing trade, a positive number."""
        return _ratio(self.gross_loss, Decimal(self.losses), NO_LOSSES)

    @property
    def average_seconds(self) -> Figure:
        """The mean time from open to close, in seconds."""
        return _ratio(self.seconds, Decimal(self.trades), NO_TRADES)


@dataclass(frozen=True, slots=True)
class Streaks:
    """Trades in a row in closing order. current: below 0 for losses; 0 after a trade broke even."""

    wins: int = 0
    losses: int = 0
    current: int = 0

    @property
    def length(self) -> int:
        """How many trades the current run has."""
        return abs(self.current)


@dataclass(frozen=True, slots=True)
class ReturnStatistics:
    """Statistics of an account's time-weighted returns. Rates are fractions: 0.05 is 5 %."""

    total: Figure
    max_drawdown: Figure  # positive
    volatility: Figure  # a year
    sharpe: Figure
    sortino: Figure
    annual: Figure
    calmar: Figure
    days: int  # full days with a return, which the ratios are from


def sharpe(returns: Sequence[Decimal], *, periods: int = DAYS_A_YEAR) -> Figure:
    """Return mean / sample standard deviation × √periods, the risk-free rate being 0."""
    if len(returns) < LEAST_DAYS:
        return Figure(None, FEW_DAYS)
    deviation = _deviation(returns)
    if not deviation:
        return Figure(None, NO_VARIANCE)
    return _computed(lambda: _mean(returns) / deviation * Decimal(periods).sqrt())


def sortino(returns: Sequence[Decimal], *, periods: int = DAYS_A_YEAR) -> Figure:
    """Return mean / √(Σ min(r, 0)² / n) × √periods: the target return is 0."""
    if len(returns) < LEAST_DAYS:
        return Figure(None, FEW_DAYS)
    with localcontext(prec=2 * DIGITS):
        downside = (sum((r * r for r in returns if r < 0), ZERO) / len(returns)).sqrt()
    if not downside:
        return Figure(None, NO_LOSING_DAY)
    return _computed(lambda: _mean(returns) / downside * Decimal(periods).sqrt())


def volatility(returns: Sequence[Decimal], *, periods: int = DAYS_A_YEAR) -> Figure:
    """Return the sample standard deviation × √periods."""
    if len(returns) < LEAST_DAYS:
        return Figure(None, FEW_DAYS)
    return _computed(lambda: _deviation(returns) * Decimal(periods).sqrt())


def total_return(returns: Iterable[Decimal]) -> Decimal:
    """Return Π(1 + r) − 1: 0 without a return."""
    with localcontext(prec=2 * DIGITS):
        growth = ONE
        for value in returns:
            growth = grown(growth, ONE + value)
        return to_stored(growth - ONE)


def grown(growth: Decimal, factor: Decimal) -> Decimal:
    """Return a growth after one more part. Once all is lost it stays: of nothing nothing grows, and
    below 0 the sign would turn each later gain into a loss."""
    return growth * factor if growth > 0 else growth


def max_drawdown(returns: Iterable[Decimal]) -> Decimal:
    """Return the largest fall from an earlier end of a day, or the start: a positive fraction."""
    return max((-point for point in drawdowns(returns)), default=ZERO)


def drawdowns(returns: Iterable[Decimal]) -> list[Decimal]:
    """Return after each return how far the growth is below its highest value so far: ≤ 0."""
    found: list[Decimal] = []
    with localcontext(prec=2 * DIGITS):
        growth = highest = ONE
        for value in returns:
            growth = grown(growth, ONE + value)
            highest = max(highest, growth)
            found.append(to_stored(growth / highest - ONE))
    return found


def annual_return(
    returns: Sequence[Decimal],
    *,
    periods: int = DAYS_A_YEAR,
    least: int = LEAST_DAYS_OF_A_YEARS_RATE,
) -> Figure:
    """Return (1 + total) ^ (periods / n) − 1. Not defined for fewer than `least` days."""
    if len(returns) < least:
        return Figure(None, FEW_DAYS_A_YEAR)
    total = total_return(returns)
    if total <= -ONE:
        return Figure(None, ALL_LOST)
    return _computed(lambda: (ONE + total) ** (Decimal(periods) / len(returns)) - ONE)


def calmar(
    returns: Sequence[Decimal],
    *,
    periods: int = DAYS_A_YEAR,
    least: int = LEAST_DAYS_OF_A_YEARS_RATE,
) -> Figure:
    """Return the annual return / the largest drawdown."""
    rate = annual_return(returns, periods=periods, least=least)
    if rate.value is None:
        return rate
    return _ratio(rate.value, max_drawdown(returns), NO_DRAWDOWN)


def return_statistics(
    all_returns: Sequence[Decimal], full_days: Sequence[Decimal], why_none: str = ""
) -> ReturnStatistics:
    """Return the statistics of a chain of returns.

    all_returns: in order, also those over gaps and of the day that has not ended: total and
    drawdown are from these. full_days: those of exactly one trading day each: ratios are from
    these. why_none: why there is no return at all.
    """
    if not all_returns:
        none = Figure(None, why_none or "no two account readings")
        return ReturnStatistics(none, none, none, none, none, none, none, 0)
    return ReturnStatistics(
        total=Figure(total_return(all_returns)),
        max_drawdown=Figure(max_drawdown(all_returns)),
        volatility=volatility(full_days),
        sharpe=sharpe(full_days),
        sortino=sortino(full_days),
        annual=annual_return(full_days),
        calmar=calmar(full_days),
        days=len(full_days),
    )


def _mean(values: Sequence[Decimal]) -> Decimal:
    return sum(values, ZERO) / len(values)


def _deviation(values: Sequence[Decimal]) -> Decimal:
    """Return the sample standard deviation (n − 1) at full precision."""
    if min(values) == max(values):  # else what the mean rounds off would be a variance
        return ZERO
    with localcontext(prec=2 * DIGITS):
        mean = _mean(values)
        return (sum(((r - mean) ** 2 for r in values), ZERO) / (len(values) - 1)).sqrt()


def _computed(formula: Callable[[], Decimal]) -> Figure:
    with localcontext(prec=2 * DIGITS):
        value = formula()
        # 20 digits before the point are more than any table shows, and fit the database.
        if abs(value) >= Decimal(10) ** (DIGITS - 18):
            return Figure(None, "it is too large to be meaningful")
        return Figure(to_stored(value))


def _ratio(numerator: Decimal, denominator: Decimal, why: str) -> Figure:
    return Figure(divide(numerator, denominator)) if denominator else Figure(None, why)
