"""Indicators of a market, calculated from candles. Pure.

A candle is the sum of the minute bars in a longer interval. Prices are bids, in quote currency.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

ATR_CANDLES = 14
TREND_CANDLES = 14
CANDLES = ATR_CANDLES + 1  # the first one only has its close used
HUNDRED = Decimal(100)


class Candle(NamedTuple):
    """The bids of a symbol in an interval that starts at `start` (market clock)."""

    start: datetime
    high: Decimal
    low: Decimal
    close: Decimal


def average_true_range(candles: Sequence[Candle]) -> Decimal | None:
    """Return the mean true range of the last 14 candles, None if there are fewer than 15.

    candles: the oldest first, complete ones only. The true range is the distance from the highest
    to the lowest price of a candle and the close of the one before.
    """
    if len(candles) < CANDLES:
        return None
    last = candles[-CANDLES:]
    ranges = [
        max(candle.high, before.close) - min(candle.low, before.close)
        for before, candle in pairwise(last)
    ]
    return sum(ranges, Decimal(0)) / len(ranges)


def trend(candles: Sequence[Candle]) -> Decimal | None:
    """Return how far the close has moved in 14 candles, in average true ranges; above 0: up.

    None: there are fewer than 15 candles, or the price has not moved at all.
    """
    atr = average_true_range(candles)
    if not atr:
        return None
    return (candles[-1].close - candles[-1 - TREND_CANDLES].close) / atr


def percentile(lower: int, total: int) -> Decimal | None:
    """Return which percent of `total` values are not above the present one; None without values."""
    return None if total == 0 else Decimal(lower) * HUNDRED / Decimal(total)
