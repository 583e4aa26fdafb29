"""Hold back a quote that is far from the one before, until another quote or a second confirms it.

One bad tick must fire nothing: no stop, target, trigger or trailing stop, no condition, no paper
order. So what is taken from a broker's stream passes here first:
- A quote is far if a side of it moved by more than SPREADS times the recent spread and by more than
  SHARE of the price. It is held back.
- The next quote of the pair decides. If that one is near the last price, the held one is dropped.
  If it is far on the same side, the price that both have reached counts. On the other side, it is
  held back in its place.
- A held quote that nothing contradicts for HOLD_SECONDS counts.
Not for several threads.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from statistics import median

from brokers.types import Quote

SPREADS, SHARE = 20, Decimal("0.02")
HOLD_SECONDS = 1.0
RECENT = 9  # spreads, of which the median counts


@dataclass(slots=True)
class _Pair:
    """What is known of a pair. held_at: machine time."""

    last: Quote
    spreads: deque[Decimal] = field(default_factory=lambda: deque(maxlen=RECENT))
    held: Quote | None = None
    held_at: float = 0.0

    def is_far(self, quote: Quote, last: Quote) -> bool:
        """Return whether a quote is far from an earlier one."""
        moved = max(abs(quote.bid - last.bid), abs(quote.ask - last.ask))
        if moved <= SHARE * last.bid:
            return False
        return moved > SPREADS * median(self.spreads)

    def passed(self, *quotes: Quote) -> list[Quote]:
        """Record quotes that count; return them."""
        for quote in quotes:
            self.last = quote
            self.spreads.append(quote.ask - quote.bid)
        return list(quotes)


@dataclass(frozen=True, slots=True)
class Held:
    """How many quotes were held back, and the last of them as a text; empty: none yet."""

    count: int = 0
    last: str = ""


class HeldQuotes:
    """The quotes of a source that are held back, at most one of each pair."""

    def __init__(self) -> None:
        self._pairs: dict[str, _Pair] = {}
        self._taken = Held()

    def expect(self, quotes: Iterable[Quote]) -> None:
        """Compare the first quotes with these, of before the source was opened."""
        for quote in quotes:
            if quote.symbol not in self._pairs:
                self.passed(quote, 0.0)

    def passed(self, quote: Quote, now: float) -> list[Quote]:
        """Return the quotes that count from now on, in order. now: machine time."""
        if (pair := self._pairs.get(quote.symbol)) is None:
            pair = self._pairs[quote.symbol] = _Pair(quote)
            return pair.passed(quote)
        held, pair.held = pair.held, None
        if not pair.is_far(quote, pair.last):
            return pair.passed(quote)
        if held is None or _is_up(held, pair.last) != _is_up(quote, pair.last):
            return self._hold(pair, quote, now)
        if not pair.is_far(quote, held):
            return pair.passed(held, quote)
        if _distance(quote, pair.last) < _distance(held, pair.last):
            return pair.passed(quote)
        return pair.passed(held) + self._hold(pair, quote, now)

    def released(self, now: float) -> list[Quote]:
        """Return the quotes that nothing has contradicted for HOLD_SECONDS. now: machine time."""
        found: list[Quote] = []
        for pair in self._pairs.values():
            if pair.held is not None and now - pair.held_at >= HOLD_SECONDS:
                held, pair.held = pair.held, None
                found += pair.passed(held)
        return found

    def take(self) -> Held:
        """Return how many quotes were held back since the last call, and the last of all."""
        taken, self._taken = self._taken, Held(0, self._taken.last)
        return taken

    def _hold(self, pair: _Pair, quote: Quote, now: float) -> list[Quote]:
        pair.held, pair.held_at = quote, now
        last = pair.last
        text = (
            f"{quote.symbol} {quote.bid:f}/{quote.ask:f} after {last.bid:f}/{last.ask:f},"
            f" {quote.time:%Y-%m-%d %H:%M:%S} UTC"
        )
        self._taken = Held(self._taken.count + 1, text)
        return []


def _is_up(quote: Quote, last: Quote) -> bool:
    return quote.bid + quote.ask > last.bid + last.ask


def _distance(quote: Quote, last: Quote) -> Decimal:
    return abs(quote.bid + quote.ask - last.bid - last.ask)
