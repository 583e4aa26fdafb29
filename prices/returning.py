"""What a source quotes first after its fallback has stood in for it.

A source that comes back may begin with a frozen price of before. The judge (`held_back.py`) knows
only the source's own quotes, to which that price is near. So while the stored price of a pair is a
fallback's, the source's first quote counts only if it is within the spreads of that price. Else its
second one counts, if it is a statement of its own: a later quote of another price. A fallback that
has been silent for LOST contradicts nothing: the first quote counts.
"""

from collections.abc import Sequence

from brokers.types import Quote
from common.clocks import machine_time
from prices.fallback import LOST
from prices.selectors import fallback_prices

KNOWN_FOR = 30.0  # seconds: no fallback begins sooner after an own quote
# A healthy source confirms each pair within that time. An older first quote is forgotten.
SECOND_WITHIN = LOST


class ReturningQuotes:
    """The quotes of a source on their way from its stream. For one thread."""

    def __init__(self, source_id: int) -> None:
        self.source_id = source_id
        self._counted_at: dict[str, float] = {}  # by pair: its last own quote that counted
        self._first: dict[str, Quote] = {}  # that waits for a second one

    def passed(self, quotes: Sequence[Quote]) -> list[Quote]:
        """Return the quotes that count, in order. Reads only what is stored of pairs that return.

        Raises database errors before anything is recorded.
        """
        now = machine_time()
        never = float("-inf")
        doubted = {
            quote.symbol
            for quote in quotes
            if now - self._counted_at.get(quote.symbol, never) >= KNOWN_FOR
        }
        standing_in = fallback_prices(self.source_id, doubted) if doubted else {}
        found = []
        for quote in quotes:
            stored = standing_in.get(quote.symbol)
            if stored is None or self._counts(quote, stored):
                standing_in.pop(quote.symbol, None)
                self._first.pop(quote.symbol, None)
                self._counted_at[quote.symbol] = now
                found.append(quote)
            else:
                self._first[quote.symbol] = quote
        return found

    def _counts(self, quote: Quote, stored: Quote) -> bool:
        if quote.time - stored.time > LOST:
            return True
        width = quote.ask - quote.bid + stored.ask - stored.bid
        if abs(quote.bid - stored.bid) <= width and abs(quote.ask - stored.ask) <= width:
            return True
        first = self._first.get(quote.symbol)
        if first is None or quote.time - first.time > SECOND_WITHIN:
            return False
        return quote.time > first.time and (quote.bid, quote.ask) != (first.bid, first.ask)
