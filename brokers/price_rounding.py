"""Round prices to whole ticks, never to the trader's disadvantage. Pure.

A tick is one number, or a `PriceGrid` where it depends on the price.

A limit never gets worse: a buy's is rounded down, a sell's up. A stop order never triggers before
its price is reached; a stop loss never loses more and a target never gains less than requested: for
a long they are rounded up, for a short down. The change is always less than a tick.
"""

from bisect import bisect_right
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from brokers.types import OrderType, Side
from common.money import divide


@dataclass(frozen=True, slots=True)
class PriceGrid:
    """Price steps that depend on the price. steps: (from this price on, step), ascending."""

    steps: tuple[tuple[Decimal, Decimal], ...]

    def step_at(self, price: Decimal) -> Decimal:
        """Return the step that counts at a price; below the first edge the first one does."""
        return self.steps[max(0, bisect_right(self.steps, price, key=lambda one: one[0]) - 1)][1]


Tick = Decimal | PriceGrid


def step_at(price: Decimal, tick: Tick) -> Decimal:
    """Return the tick that counts at a price."""
    return tick.step_at(price) if isinstance(tick, PriceGrid) else tick


def round_entry_price(price: Decimal, tick: Tick, side: Side, order_type: OrderType) -> Decimal:
    """Return the rounded price of a limit or stop order on this side."""
    return _rounded(price, tick, -side.sign if order_type is OrderType.LIMIT else side.sign)


def round_level_price(price: Decimal, tick: Tick, side: Side) -> Decimal:
    """Return the rounded stop or target of a position on this side."""
    return _rounded(price, tick, side.sign)


def round_distance(distance: Decimal, tick: Decimal) -> Decimal:
    """Return the distance of a trailing stop rounded up to whole ticks, at least one."""
    if tick <= 0:
        return distance
    return max(divide(distance, tick).to_integral_value(ROUND_CEILING), Decimal(1)) * tick


def _rounded(price: Decimal, tick: Tick, sign: int) -> Decimal:
    """Return the next price on the grid in this direction.

    A price that is rounded across an edge must be on the grid that counts beyond it.
    """
    rounding = ROUND_CEILING if sign > 0 else ROUND_FLOOR
    while (step := step_at(price, tick)) > 0:
        rounded = (price / step).to_integral_value(rounding) * step
        if step_at(rounded, tick) == step:
            return rounded
        price = rounded
    return price
