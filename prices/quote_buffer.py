"""Conflation and checks of quotes: a bounded buffer that keeps each price that matters. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from brokers.types import Quote
from common.money import DIGITS, PLACES

MAX_QUOTES_PER_PAIR = 50
SMALLEST, LARGEST = Decimal(1).scaleb(-PLACES), Decimal(10) ** (DIGITS - PLACES) - 1
FRESH_AGE = timedelta(seconds=5)  # an older quote triggers levels, but is not a current price


def conflated(quotes: Sequence[Quote]) -> list[Quote]:
    """Reduce pairs with many quotes to their extremes and their last quote, in order. Pure.

    The extremes decide whether a level was hit, so no touch between two quotes is missed.
    """
    by_pair: dict[str, list[int]] = {}
    for number, quote in enumerate(quotes):
        by_pair.setdefault(quote.symbol, []).append(number)
    kept: set[int] = set()
    for numbers in by_pair.values():
        if len(numbers) <= MAX_QUOTES_PER_PAIR:
            kept.update(numbers)
            continue
        for side in ("bid", "ask"):
            prices = {number: getattr(quotes[number], side) for number in numbers}
            kept |= {min(prices, key=prices.__getitem__), max(prices, key=prices.__getitem__)}
        kept.add(numbers[-1])
    return [quotes[number] for number in sorted(kept)]


def fresh_quotes(quotes: Sequence[Quote], now: datetime) -> list[Quote]:
    """Return the quotes that are younger than `FRESH_AGE`."""
    return [quote for quote in quotes if now - quote.time <= FRESH_AGE]


def quote_fault(quote: Quote, symbols: Mapping[str, str]) -> str | None:
    """Return what is wrong with a quote, as a sentence; None if it is valid."""
    if quote.symbol not in symbols:
        return f"The broker sent a price of {quote.symbol!r}, which was not requested."
    if not (quote.bid.is_finite() and quote.ask.is_finite()):
        return f"The broker sent a price of {quote.symbol} that is not a number."
    if not 0 < quote.bid <= quote.ask:
        return f"The broker sent {quote.symbol} with bid {quote.bid}, ask {quote.ask}."
    if quote.bid < SMALLEST or quote.ask > LARGEST:  # the column cannot hold it
        return f"The broker sent {quote.symbol} with bid {quote.bid:.3g}, ask {quote.ask:.3g}."
    return None
