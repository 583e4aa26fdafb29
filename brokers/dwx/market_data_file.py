"""DWX_Market_Data.txt: prices, their age, and the value of a point. Pure."""

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, TypeVar

from brokers.dwx.parse import MalformedError, load, number

T = TypeVar("T")
Prices = Mapping[str, tuple[Decimal, Decimal]]


def tick_values(raw: bytes) -> dict[str, Decimal]:
    """Read account currency per point and lot. Raises MalformedError."""
    return _by_symbol(raw, lambda one: number(one["tick_value"]))


def prices(raw: bytes) -> dict[str, tuple[Decimal, Decimal]]:
    """Read bid and ask by symbol. Raises MalformedError."""
    return _by_symbol(raw, lambda one: (number(one["bid"]), number(one["ask"])))


def _by_symbol(raw: bytes, read: Callable[[Any], T]) -> dict[str, T]:
    """Return what is read of each symbol, without those of which it cannot be: one must not hide
    the others' prices. Raises MalformedError if none can be read."""
    found: dict[str, T] = {}
    odd: Exception | None = None
    for symbol, one in load(raw).items():
        try:
            found[symbol] = read(one)
        except (KeyError, TypeError, ValueError) as error:
            odd = error
    if odd is not None and not found:
        raise MalformedError(repr(odd)) from odd
    return found


class QuoteAges:
    """The age of each symbol's price in one terminal. Times: seconds of one monotonic clock.

    The file has no times and lists all symbols. A price that has changed between two reads is as
    old as the file; an unchanged one ages, even if others change. For a new symbol only the file's
    age is known.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[tuple[Decimal, Decimal], float]] = {}

    def record(self, prices: Prices, written: float) -> None:
        """Record the file's prices. written: when it was written at the latest."""
        known = self._seen
        self._seen = {
            symbol: known[symbol] if symbol in known and known[symbol][0] == price
            else (price, written)
            for symbol, price in prices.items()
        }  # fmt: skip

    def of(self, symbol: str, now: float) -> float:
        """Return the seconds since a symbol's price changed; infinite if there is none."""
        seen = self._seen.get(symbol)
        return now - seen[1] if seen else math.inf

    def youngest(self, now: float) -> float:
        """Return the seconds since any symbol's price changed; infinite if there is none."""
        return now - max((written for _, written in self._seen.values()), default=-math.inf)
