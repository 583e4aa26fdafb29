"""The steps of a market's amounts and prices, in whichever way ccxt states them. Pure.

Most exchanges state a step. Some state decimals, and some significant digits of a price, so that
its step depends on the price (Bitfinex, Bithumb): ccxt's `precisionMode` says which. The amounts of
these have decimals all the same (`amountToPrecision` of both in ccxt 4.5.90).
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from brokers.price_rounding import PriceGrid, Tick

DECIMAL_PLACES, SIGNIFICANT_DIGITS, TICK_SIZE = 2, 3, 4
"""ccxt's numbers. Source: ccxt/base/decimal_to_precision.py."""
FINEST = -8  # exponent of the finest price step; ccxt cuts such a price to eight decimals
HIGHEST = 12  # exponent of the highest price for which a grid has a step


def amount_step(market: Mapping[str, Any]) -> Decimal:
    """Return the step of ccxt's amounts. Raises ValueError if the exchange states none."""
    stated = _above_zero(market, "amount")
    return stated if _mode(market) == TICK_SIZE else Decimal(1).scaleb(-int(stated))


def price_tick(market: Mapping[str, Any]) -> Tick:
    """Return the step of prices. Raises ValueError if the exchange states none."""
    stated = _above_zero(market, "price")
    if _mode(market) == TICK_SIZE:
        return stated
    if _mode(market) == DECIMAL_PLACES:
        return Decimal(1).scaleb(-int(stated))
    digits, one = int(stated), Decimal(1)
    edges = range(FINEST + digits, HIGHEST)
    steps = [(one.scaleb(edge), one.scaleb(edge - digits + 1)) for edge in edges]
    return PriceGrid(((Decimal(0), one.scaleb(FINEST)), *steps))


def _mode(market: Mapping[str, Any]) -> int:
    return int(market.get("precisionMode") or TICK_SIZE)


def _above_zero(market: Mapping[str, Any], name: str) -> Decimal:
    stated = (market.get("precision") or {}).get(name)
    try:
        found = Decimal(str(stated))
    except InvalidOperation:
        found = Decimal(0)
    if not found.is_finite() or found <= 0:
        raise ValueError(f"{market.get('symbol')} has no step of its {name}: {stated!r}")
    return found
