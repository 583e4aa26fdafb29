"""Round prices to whole ticks, never to the trader's disadvantage. Pure.

A limit never gets worse: a buy's is rounded down, a sell's up. A stop order never triggers before
its price is reached; a stop loss never loses more and a target never gains less than requested: for
a long they are rounded up, for a short down. The change is always less than a tick.
"""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from brokers.types import OrderType, Side
from common.money import divide


def round_entry_price(price: Decimal, tick: Decimal, side: Side, order_type: OrderType) -> Decimal:
    """Return the rounded price of a limit or stop order on this side."""
    return _rounded(price, tick, -side.sign if order_type is OrderType.LIMIT else side.sign)


def round_level_price(price: Decimal, tick: Decimal, side: Side) -> Decimal:
    """Return the rounded stop or target of a position on this side."""
    return _rounded(price, tick, side.sign)


def round_distance(distance: Decimal, tick: Decimal) -> Decimal:
    """Return the distance of a trailing stop rounded up to whole ticks, at least one."""
    if tick <= 0:
        return distance
    return max(divide(distance, tick).to_integral_value(ROUND_CEILING), Decimal(1)) * tick


def _rounded(price: Decimal, tick: Decimal, sign: int) -> Decimal:
    if tick <= 0:
        return price
    rounding = ROUND_CEILING if sign > 0 else ROUND_FLOOR
    return (price / tick).to_integral_value(rounding) * tick
