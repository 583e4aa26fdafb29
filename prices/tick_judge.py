"""Judge a quote: does it count, is it suspect, or does it confirm a suspect one? Pure.

One bad tick must fire nothing. `held_back.py` keeps what is suspect and asks here:
- `is_far`: a quote that is far from the last one is suspect. It is far if a side of it moved by
  more than SPREADS times the recent spread, and by more than SHARE of the price; or, where the
  recent range is known, by more than SMALL_SHARE of the price and RANGES times that range.
- `is_independent`: only a later quote confirms, of which each far side has another price. A quote
  that is delivered again, a second one of the same moment and a repeated price are the same
  statement twice. So is a bid beside another ask: some brokers send the sides apart.
- `reached`: the price that two far quotes have both reached.
- `judge_next`: what the next quote of the pair means for a suspect one.
- `second_opinion`: what a second source says about it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import Enum
from statistics import median_low

from brokers.types import Quote
from prices.distances import Offsets

SPREADS, SHARE = 20, Decimal("0.02")
SMALL_SHARE, RANGES = Decimal("0.001"), 5
OPINION_SHARE = 4  # a second source agrees with a price that is within a quarter of the move


class Verdict(Enum):
    """What a quote is. CONFIRMED: it counts, and so does the suspect one before it."""

    OK = "ok"
    SUSPECT = "suspect"
    CONFIRMED = "confirmed"
    REPEATED = "repeated"


@dataclass(frozen=True, slots=True)
class Sent:
    """A quote with the time that its source gave it; `quote.time` is when we received it.

    row: of the table that it was read from, if any.
    """

    quote: Quote
    at: datetime
    row: int | None = None

    @property
    def prices(self) -> tuple[Decimal, Decimal]:
        """Bid and ask."""
        return self.quote.bid, self.quote.ask


@dataclass(frozen=True, slots=True)
class Recent:
    """What is usual for a pair. spreads: the last ones, at least one. range: highest less lowest
    middle of the last prices; None: not known yet."""

    spreads: Sequence[Decimal]
    range: Decimal | None = None


Sides = tuple[bool, bool]
"""Of bid and ask."""
BOTH: Sides = (True, True)


def is_far(quote: Quote, earlier: Quote, recent: Recent) -> bool:
    """Return whether a quote is so far from an earlier one that it is suspect."""
    return any(far_sides(quote, earlier, recent))


def far_sides(quote: Quote, earlier: Quote, recent: Recent) -> Sides:
    """Return which of a quote's sides are far from an earlier one's."""
    bid, ask = abs(quote.bid - earlier.bid), abs(quote.ask - earlier.ask)
    return _is_far_move(bid, earlier, recent), _is_far_move(ask, earlier, recent)


def _is_far_move(moved: Decimal, earlier: Quote, recent: Recent) -> bool:
    if moved <= SMALL_SHARE * earlier.bid or moved <= SPREADS * median_low(recent.spreads):
        return False
    if moved > SHARE * earlier.bid:
        return True
    return recent.range is not None and moved > RANGES * recent.range


def is_independent(new: Sent, earlier: Sent, sides: Sides = BOTH) -> bool:
    """Return whether a quote is a statement of its own: a later one, with other prices.

    sides: those that must have other prices.
    """
    pairs = zip(new.prices, earlier.prices, sides, strict=True)
    return new.at > earlier.at and all(now != before for now, before, counts in pairs if counts)


def is_redelivered(new: Sent, earlier: Sent) -> bool:
    """Return whether a quote is an earlier one again, so that it denies nothing."""
    return new.at <= earlier.at and new.prices == earlier.prices


def judge_next(
    new: Sent, last: Sent, suspect: Sent | None, recent: Recent, *, newest: Sent | None
) -> Verdict:
    """Return what a quote is.

    last: the newest that counts. suspect: an unconfirmed one on the same side of it, if any, with
    the prices that it had first: brokers that send bid and ask apart change one at a time.
    newest: the newest unconfirmed one on either side. The last quote again denies nothing if that
    one is later; of the same moment (brokers that state whole seconds) it may be the true one.
    """
    if newest is not None and newest.at > last.at and is_redelivered(new, last):
        return Verdict.REPEATED
    far = far_sides(new.quote, last.quote, recent)
    if not any(far):
        return Verdict.OK
    if suspect is None or not is_independent(new, suspect, far):
        return Verdict.SUSPECT
    return Verdict.CONFIRMED


def reached(suspect: Quote, new: Quote, last: Quote) -> Quote:
    """Return what two quotes on the same side of the last have both reached, bid and ask apart.

    One of them may be far on one side only: the other side was stated once.
    """
    bid = min(suspect.bid, new.bid, key=lambda price: abs(price - last.bid))
    ask = min(suspect.ask, new.ask, key=lambda price: abs(price - last.ask))
    if bid <= ask:
        return replace(suspect, bid=bid, ask=ask)
    return min(suspect, new, key=lambda quote: abs(_middle(quote) - _middle(last)))


def second_opinion(last: Quote, suspect: Quote, second: Quote, offsets: Offsets) -> bool | None:
    """Return whether a second source confirms a suspect quote (True) or denies it (False).

    None: its price has moved most of the way to the suspect one, so it says nothing yet. second: a
    quote that came after the suspect one. offsets: what the source's bid and ask usually are more
    than the second one's, so that its move counts and not its price.
    """
    shifted = replace(second, bid=second.bid + offsets[0], ask=second.ask + offsets[1])
    from_suspect = _distance(shifted, suspect)
    if from_suspect <= _distance(suspect, last) / OPINION_SHARE:
        return True
    return False if _distance(shifted, last) < from_suspect else None


def _distance(quote: Quote, other: Quote) -> Decimal:
    return max(abs(quote.bid - other.bid), abs(quote.ask - other.ask))


def _middle(quote: Quote) -> Decimal:
    return (quote.bid + quote.ask) / 2
