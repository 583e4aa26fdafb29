"""The age of each symbol's price. The terminal's file has no times and lists all symbols. Pure.

A price that has changed between two reads is as old as the file; an unchanged one ages, even if
others change. For a new symbol only the file's age is known.
"""

import math
from collections.abc import Mapping
from decimal import Decimal

Prices = Mapping[str, tuple[Decimal, Decimal]]


class QuoteAges:
    """Of one terminal. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[tuple[Decimal, Decimal], float]] = {}

    def see(self, prices: Prices, written: float) -> None:
        """Take in what the file says. written: when it was written at the latest."""
        known = self._seen
        self._seen = {
            symbol: known[symbol] if symbol in known and known[symbol][0] == price
            else (price, written)
            for symbol, price in prices.items()
        }  # fmt: skip

    def of(self, symbol: str, now: float) -> float:
        """Seconds since a symbol's price changed; infinite where there is none."""
        seen = self._seen.get(symbol)
        return now - seen[1] if seen else math.inf

    def youngest(self, now: float) -> float:
        """Seconds since any symbol's price changed; infinite where there is none."""
        return now - max((written for _, written in self._seen.values()), default=-math.inf)
