"""Roll-ups: results of consecutive closed trades that can be combined. Pure.

`combine` is associative and `NOTHING` is its neutral element. So days combine into months and
years, with exactly the result of all trades in closing order, including the drawdown. See
docs/analytics.md.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import reduce

from common.money import DIGITS, divide

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Rollup:
    """Result of consecutive closed trades, in account currency.

    total: net of commission and swap. highest, lowest: of the running sum, including the 0 before
    the first trade. drawdown: the largest fall of the running sum from an earlier peak, a positive
    number.
    """

    trades: int = 0
    wins: int = 0
    losses: int = 0  # trades - wins - losses broke even
    gross_profit: Decimal = ZERO  # sum of the winning trades
    gross_loss: Decimal = ZERO  # sum of the losing trades, a positive number
    commission: Decimal = ZERO
    swap: Decimal = ZERO  # as the broker booked it, below 0 if it was charged
    total: Decimal = ZERO
    highest: Decimal = ZERO
    lowest: Decimal = ZERO
    drawdown: Decimal = ZERO
    duration_seconds: Decimal = ZERO

    @property
    def win_rate(self) -> Decimal | None:
        """Winning trades / trades; None without trades."""
        return divide(Decimal(self.wins), Decimal(self.trades)) if self.trades else None

    @property
    def profit_factor(self) -> Decimal | None:
        """Gross profit / gross loss; None without a loss."""
        return divide(self.gross_profit, self.gross_loss) if self.gross_loss else None

    @property
    def average_duration_seconds(self) -> Decimal | None:
        """Average time from open to close; None without trades."""
        return divide(self.duration_seconds, Decimal(self.trades)) if self.trades else None


NOTHING = Rollup()


def of_trade(
    *, realized_pnl: Decimal, commission: Decimal, duration_seconds: Decimal, swap: Decimal = ZERO
) -> Rollup:
    """Return the roll-up of one closed trade. realized_pnl: gross of commission and swap."""
    with localcontext(prec=2 * DIGITS):
        net = realized_pnl - commission + swap
        won, lost = max(net, ZERO), max(-net, ZERO)
    return Rollup(
        trades=1,
        wins=int(net > 0),
        losses=int(net < 0),
        gross_profit=won,
        gross_loss=lost,
        commission=commission,
        swap=swap,
        total=net,
        highest=won,
        lowest=-lost if lost else ZERO,
        drawdown=lost,
        duration_seconds=duration_seconds,
    )


def combine(first: Rollup, then: Rollup) -> Rollup:
    """Return the roll-up of `first`'s trades followed by `then`'s."""
    with localcontext(prec=2 * DIGITS):
        return Rollup(
            trades=first.trades + then.trades,
            wins=first.wins + then.wins,
            losses=first.losses + then.losses,
            gross_profit=first.gross_profit + then.gross_profit,
            gross_loss=first.gross_loss + then.gross_loss,
            commission=first.commission + then.commission,
            swap=first.swap + then.swap,
            total=first.total + then.total,
            highest=max(first.highest, first.total + then.highest),
            lowest=min(first.lowest, first.total + then.lowest),
            drawdown=max(
                first.drawdown, then.drawdown, first.highest - (first.total + then.lowest)
            ),
            duration_seconds=first.duration_seconds + then.duration_seconds,
        )


def fold(rollups: Iterable[Rollup]) -> Rollup:
    """Return the roll-up of all, in the order given."""
    return reduce(combine, rollups, NOTHING)
