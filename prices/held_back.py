"""Hold back a quote that is far from the one before, until another quote or a second confirms it.

One bad tick must fire nothing: no stop, target, trigger or trailing stop, no condition, no paper
order. So what is taken from a broker's stream passes here first:
- A quote is far if a side of it moved by more than SPREADS times the recent spread, and by more
  than SHARE of the price; or, once RANGE_QUOTES are known, by more than SMALL_SHARE of the price
  and RANGES times the range of the last ones. It is held back.
- The next quote of the pair decides. If that one is near the last price, the held one is dropped.
  If it is far on the same side, the price that both have reached counts. On the other side it is
  held back, too: a third one decides which of them was right.
- A held quote that nothing contradicts for HOLD_SECONDS counts, as a price of that moment.
So a move acts with its second quote or after a second of silence. If this process stood still, the
second begins again, as quotes that contradict may wait to be read. Not for several threads.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from statistics import median

from brokers.types import Quote

SPREADS, SHARE = 20, Decimal("0.02")
SMALL_SHARE, RANGES = Decimal("0.001"), 5
HOLD_SECONDS = 1.0
STALLED_SECONDS = 3.0  # longer than any pause of the thread that looks
RECENT = 9  # spreads, of which the median counts
RANGE_QUOTES = 50  # whose prices are the recent range


@dataclass(slots=True)
class _Pair:
    """What is known of a pair. middles: doubled. held: by whether it is above the last quote, with
    when it came, machine time."""

    last: Quote
    spreads: deque[Decimal] = field(default_factory=lambda: deque(maxlen=RECENT))
    middles: deque[Decimal] = field(default_factory=lambda: deque(maxlen=RANGE_QUOTES))
    held: dict[bool, tuple[float, Quote]] = field(default_factory=dict)

    def copy(self) -> "_Pair":
        """Return one that changes on its own."""
        return _Pair(self.last, self.spreads.copy(), self.middles.copy(), self.held.copy())

    def is_far(self, quote: Quote, last: Quote) -> bool:
        """Return whether a quote is far from an earlier one."""
        moved = max(abs(quote.bid - last.bid), abs(quote.ask - last.ask))
        if moved <= SMALL_SHARE * last.bid or moved <= SPREADS * median(self.spreads):
            return False
        return moved > SHARE * last.bid or self._is_beyond_range(moved)

    def _is_beyond_range(self, moved: Decimal) -> bool:
        if len(self.middles) < RANGE_QUOTES:
            return False
        return 2 * moved > RANGES * (max(self.middles) - min(self.middles))

    def passed(self, *quotes: Quote) -> list[Quote]:
        """Record quotes that count; return them. What was held back does not any more."""
        self.held.clear()
        for quote in quotes:
            self.last = quote
            self.spreads.append(quote.ask - quote.bid)
            self.middles.append(quote.ask + quote.bid)
        return list(quotes)


@dataclass(frozen=True, slots=True)
class Held:
    """How many quotes were held back, and the last of them as a text; empty: none yet."""

    count: int = 0
    last: str = ""


class HeldQuotes:
    """The quotes of a source that are held back, at most two of each pair."""

    def __init__(self) -> None:
        self._pairs: dict[str, _Pair] = {}
        self._taken = Held()
        self._looked_at = float("-inf")

    def copy(self) -> "HeldQuotes":
        """Return one that goes on from here, for the same source when it is opened again."""
        made = HeldQuotes()
        made._pairs = {symbol: pair.copy() for symbol, pair in self._pairs.items()}
        made._looked_at = self._looked_at
        return made

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
        if not pair.is_far(quote, pair.last):
            return pair.passed(quote)
        if (found := pair.held.get(_is_up(quote, pair.last))) is None:
            return self._hold(pair, quote, now)
        _, held = found
        if not pair.is_far(quote, held):
            return pair.passed(held, quote)
        if _distance(quote, pair.last) < _distance(held, pair.last):
            return pair.passed(quote)
        return pair.passed(held) + self._hold(pair, quote, now)

    def released(self, now: float, at: datetime) -> list[Quote]:
        """Return the quotes that nothing has contradicted for HOLD_SECONDS, as of now.

        now: machine time; at: the same in market time.
        """
        found: list[Quote] = []
        stood_still, self._looked_at = now - self._looked_at > STALLED_SECONDS, now
        for pair in self._pairs.values():
            if not pair.held:
                continue
            if stood_still:
                pair.held = {is_up: (now, quote) for is_up, (_, quote) in pair.held.items()}
                continue
            came, held = list(pair.held.values())[-1]
            if now - came >= HOLD_SECONDS:
                found += pair.passed(replace(held, time=at))
        return found

    def take(self) -> Held:
        """Return how many quotes were held back since the last call, and the last of all."""
        taken, self._taken = self._taken, Held(0, self._taken.last)
        return taken

    def _hold(self, pair: _Pair, quote: Quote, now: float) -> list[Quote]:
        last, is_up = pair.last, _is_up(quote, pair.last)
        pair.held.pop(is_up, None)  # the newest comes last
        pair.held[is_up] = now, quote
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
