"""Price ranges of a batch of quotes, and what a trailing stop does within one. Pure.

A trailing stop follows the best price since it began (its mark) at a distance. Whether a batch of
quotes hits it depends on the order of the quotes. Four numbers keep what matters of that order. For
a sell with the mark w before the batch and the bids b_1 … b_n:

  max over j of (max(w, b_1 … b_j) - b_j) = max(w - min(b), max over i <= j of (b_i - b_j))

So it is hit exactly if the lowest bid is the distance below the mark, or if the largest fall from
one bid to a later one is as large as the distance. A buy follows the lowest ask in the same way.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from brokers.types import Quote, Side

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class PriceRange:
    """The prices of a pair in a batch of quotes.

    began: machine_time() of its first quote, in seconds. fall: the largest fall from a bid to a
    later one; rise: the largest rise from an ask to a later one; 0: none. last_bid, last_ask: the
    newest prices.
    """

    low_bid: Decimal
    high_bid: Decimal
    low_ask: Decimal
    high_ask: Decimal
    began: float
    fall: Decimal
    rise: Decimal
    last_bid: Decimal
    last_ask: Decimal

    def followed_by(self, later: "PriceRange") -> "PriceRange":
        """Return the range of these quotes and of later ones."""
        return PriceRange(
            min(self.low_bid, later.low_bid),
            max(self.high_bid, later.high_bid),
            min(self.low_ask, later.low_ask),
            max(self.high_ask, later.high_ask),
            min(self.began, later.began),
            max(self.fall, later.fall, self.high_bid - later.low_bid),
            max(self.rise, later.rise, later.high_ask - self.low_ask),
            later.last_bid,
            later.last_ask,
        )


PriceRanges = dict[str, PriceRange]  # by pair


def price_ranges(quotes: Iterable[Quote], began: float) -> PriceRanges:
    """Return the range of each pair. quotes: in the order in which they arrived."""
    by_pair: dict[str, list[Quote]] = {}
    for quote in quotes:
        by_pair.setdefault(quote.symbol, []).append(quote)
    return {pair: _range_of(of_pair, began) for pair, of_pair in by_pair.items()}


def _range_of(quotes: Sequence[Quote], began: float) -> PriceRange:
    """Return the range of one pair's quotes, at least one. Runs for each quote of a source."""
    bids, asks = [quote.bid for quote in quotes], [quote.ask for quote in quotes]
    high, fall = bids[0], ZERO
    for bid in bids:
        if bid > high:
            high = bid
        elif bid < high:
            fall = max(fall, high - bid)
    low, rise = asks[0], ZERO
    for ask in asks:
        if ask < low:
            low = ask
        elif ask > low:
            rise = max(rise, ask - low)
    return PriceRange(min(bids), high, low, max(asks), began, fall, rise, bids[-1], asks[-1])


def in_sequence(some: PriceRanges, later: PriceRanges) -> PriceRanges:
    """Return all ranges; for a pair in both, the range of all its quotes."""
    both = some.keys() & later.keys()
    return {**some, **later, **{pair: some[pair].followed_by(later[pair]) for pair in both}}


def mark_after(prices: PriceRange, side: Side, mark: Decimal | None) -> Decimal:
    """Return the mark of a trailing stop after these quotes.

    A sell follows the highest bid, a buy the lowest ask. mark: before the quotes; None: it begins.
    """
    best = prices.high_bid if side is Side.SELL else prices.low_ask
    if mark is None:
        return best
    return max(mark, best) if side is Side.SELL else min(mark, best)


def is_trailing_stop_hit(
    prices: PriceRange, side: Side, mark: Decimal | None, distance: Decimal
) -> bool:
    """Return whether these quotes hit a trailing stop, exactly as if judged one by one.

    side: of the order that it sends; a sell closes a bought position. mark: before the quotes;
    None: it begins with the first of them. distance: quote currency, above 0.
    """
    if side is Side.SELL:
        return prices.fall >= distance or (mark is not None and mark - prices.low_bid >= distance)
    return prices.rise >= distance or (mark is not None and prices.high_ask - mark >= distance)


def stop_price_of(side: Side, mark: Decimal, distance: Decimal) -> Decimal:
    """Return the price at which a trailing stop with this mark is hit."""
    return mark - distance * side.opposite.sign
