"""The levels that matter to a position, pure: which one a quote breaches, which target is next.

A BUY is closed by selling, so its levels are met by the bid; a SELL's by the ask.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from enum import StrEnum

from brokers.base import Side
from common.money import DIGITS, floor_to_step
from positions.pnl import closing_price

WHOLE = Decimal(1)


class Level(StrEnum):
    SL = "sl"
    TP = "tp"


@dataclass(frozen=True, slots=True)
class Target:
    """The n-th take profit of a signal, counted from 1: its exit order's leg is `tp-n`."""

    number: int
    price: Decimal
    fraction: Decimal  # of the quantity that was opened
    is_last: bool

    @property
    def leg(self) -> str:
        return f"tp-{self.number}"


def breached(
    *, side: Side, sl: Decimal | None, tp: Decimal | None, bid: Decimal, ask: Decimal
) -> Level | None:
    """Return the level that this quote meets or passes; the stop wins when both are met."""
    price = closing_price(side=side, bid=bid, ask=ask)
    if sl is not None and (sl - price) * side.sign >= 0:
        return Level.SL
    if tp is not None and (price - tp) * side.sign >= 0:
        return Level.TP
    return None


def next_target(
    *, prices: Sequence[Decimal], fractions: Sequence[Decimal], after: int = 0
) -> Target | None:
    """Return the target that follows tp-`after` (0: the first), None when there is none left."""
    if after >= len(prices):
        return None
    return Target(after + 1, prices[after], fractions[after], after + 1 == len(prices))


def target_quantity(
    *,
    number: int,
    fractions: Sequence[Decimal],
    opened_quantity: Decimal,
    free: Decimal,
    step: Decimal,
    minimum: Decimal = Decimal(0),
) -> Decimal:
    """Return how much tp-`number` closes, in base units.

    free: what is open and not reserved by other exits; never exceeded. The last target closes all
    of it if the fractions sum to 1: what flooring left over at earlier targets must not stay open.
    Otherwise the fraction of what was opened, floored to the broker's step; 0 when that is less
    than the broker's minimum (the target is passed over, its share goes with a later exit).
    """
    if free <= 0:
        return Decimal(0)
    if number == len(fractions) and sum(fractions) == WHOLE:
        return free
    with localcontext(prec=2 * DIGITS):
        wanted = floor_to_step(fractions[number - 1] * opened_quantity, step)
    return min(wanted, free) if wanted >= minimum else Decimal(0)
