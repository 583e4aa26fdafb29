"""What a live source told and nobody has taken yet: bounded, and no price that mattered is lost."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from brokers.types import Quote
from common.money import DIGITS, PLACES

MAX_QUOTES_PER_PAIR = 50
SMALLEST, LARGEST = Decimal(1).scaleb(-PLACES), Decimal(10) ** (DIGITS - PLACES) - 1
FRESH_AGE = timedelta(seconds=5)  # what waited longer is judged, but is no price of now


def conflated(quotes: Sequence[Quote]) -> list[Quote]:
    """Return, in order, of each pair its extremes and its last, where there are many. Pure.

    Levels are judged by the extremes: one that was touched between two others is not missed.
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
    """Return those that have just come."""
    return [quote for quote in quotes if now - quote.time <= FRESH_AGE]


def quote_fault(quote: Quote, symbols: Mapping[str, str]) -> str | None:
    """Say what makes a price no price; None: nothing does."""
    if quote.symbol not in symbols:
        return f"It told a price of {quote.symbol!r}, which was not asked for."
    if not (quote.bid.is_finite() and quote.ask.is_finite()):
        return f"It told a price of {quote.symbol} that is no number."
    if not 0 < quote.bid <= quote.ask:
        return f"It told {quote.symbol} at {quote.bid} bid, {quote.ask} asked."
    if quote.bid < SMALLEST or quote.ask > LARGEST:  # it could not be stored, nor others beside it
        return f"It told {quote.symbol} at {quote.bid:.3g} bid, {quote.ask:.3g} asked."
    return None
