"""When a source's pair gets the prices of a fallback, and at which price. Pure.

While a source is silent or suspect, its next fallback that delivers is used, pair by pair. Two
sources never quote the same price, so the fallback's prices are shifted by the distance between
both when the source spoke last (`distances.py`). The first price after a switch is therefore the
last one before it, moved by what the fallback has moved since. So a switch itself reaches no stop,
target, trigger, trailing stop or loss limit; a real move does. In doubt nothing is used: if the
distance is not known, or if it is not known that the market is open.

What the source itself quotes counts, and its fallback publishes nothing meanwhile. It ends when the
source has quoted for RETURN without a gap, so that a source that comes and goes does not flap.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from brokers.types import Quote
from prices.distances import LOOK_BACK, Distance, Offsets, Sample, is_near

# Longer than CONFIRMATION_SECONDS of `quote_intake.py`: a healthy pair, which may be confirmed as
# rarely as that, is not switched.
SILENT = timedelta(seconds=50)
OWN_GAP = SILENT  # a longer one begins the return again
LOST = SILENT  # so long a fallback that is used may be quiet
CURRENT = timedelta(seconds=20)  # a fallback must have quoted so recently to be chosen
RETURN = timedelta(seconds=30)
MAX_OFFSET_SHARE = Decimal("0.02")  # sources that are further apart quote different things


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored quote. received_at: machine time. is_own: the source itself sent it."""

    quote: Quote
    received_at: datetime
    is_own: bool = True


@dataclass(frozen=True, slots=True)
class Use:
    """A pair that has the prices of a fallback.

    own_at: when the source's own last quote came. own_since: since when they come again; None: they
    do not.
    """

    fallback_id: int
    offsets: Offsets
    own_at: datetime
    own_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What is stored of a pair now. fallbacks: the first choice first.

    open_since: since when its market has been open, machine time; None: it is closed, or that is
    not known.
    """

    row: Stored
    fallbacks: Mapping[int, Stored]
    distances: Mapping[int, Distance]
    open_since: datetime | None
    now: datetime

    @property
    def is_open(self) -> bool:
        """Whether the market has been open for so long that silence is a fault.

        A source may open some minutes after its fallback, and the first price has a gap.
        """
        return self.open_since is not None and self.now - self.open_since > SILENT

    def is_measured(self, distance: Distance) -> bool:
        """Whether a distance is of this opening of the market, and not of days ago."""
        newest, opened = distance.newest, self.open_since
        if newest is None or opened is None:
            return False
        return newest.at >= max(opened, self.now - LOOK_BACK)

    def is_current(self, fallback_id: int, within: timedelta) -> bool:
        """Return whether a fallback has quoted within a time, and not by a fallback of its own."""
        other = self.fallbacks.get(fallback_id)
        return other is not None and other.is_own and self.now - other.received_at <= within


def sampled(
    before: Mapping[int, Distance], row: Stored, fallbacks: Mapping[int, Stored], use: Use | None
) -> dict[int, Distance]:
    """Return the distances after a look at the stored quotes.

    While the source has the prices of one fallback, its distance to the others goes on from these.
    What a fallback has left that is not used any more says nothing.
    """
    found = dict(before)
    if use is None and not row.is_own:
        return found
    for pk, other in fallbacks.items():
        if not other.is_own or (use is not None and use.fallback_id == pk and not row.is_own):
            continue
        found[pk] = found.get(pk, Distance()).with_sample(_sample(row, other))
    return found


def _sample(row: Stored, other: Stored) -> Sample:
    own, theirs = row.quote, other.quote
    offsets = own.bid - theirs.bid, own.ask - theirs.ask
    width = own.ask - own.bid + theirs.ask - theirs.bid
    return Sample(row.received_at, other.received_at, offsets, width)


def next_use(look: Look, use: Use | None) -> Use | None:
    """Return which fallback a pair has from now on; None: its source's own prices."""
    row, now = look.row, look.now
    if use is None:
        return _first(look, row.received_at) if _may_begin(look) else None
    if row.is_own:
        use = _with_own(row, use)
        if _is_back(look, use):
            return None
    if use.own_since is not None and now - use.own_at > OWN_GAP:
        distance = look.distances.get(use.fallback_id, Distance())
        use = replace(use, own_since=None, offsets=distance.known or use.offsets)
    if use.own_since is not None or not look.is_open or look.is_current(use.fallback_id, LOST):
        return use
    other = _first(look, use.own_at)
    return replace(other, own_since=use.own_since) if other else use


def _may_begin(look: Look) -> bool:
    """Return whether the source is silent. After a closing it must have spoken first: the distance
    of before and a gap at the opening would make a price that no source has quoted."""
    opened, came_at = look.open_since, look.row.received_at
    return opened is not None and opened <= came_at and look.now - came_at > SILENT


def _is_back(look: Look, use: Use) -> bool:
    """Return whether the source has its own prices again: it has quoted for a while, or its own
    quote is far from what its fallback says.

    Which one is right then is not known: its own counts, and the fallback must be measured again.
    """
    if use.own_since is None:
        return False
    if look.row.received_at - use.own_since >= RETURN:
        return True
    newest = look.distances.get(use.fallback_id, Distance()).newest
    if newest is None or newest.at != look.row.received_at:
        return False
    return not is_near(newest.offsets, use.offsets, newest.width)


def measured_again(before: Mapping[int, Distance], row: Stored, ended: Use) -> dict[int, Distance]:
    """Return the distances after the end of a use: those since its source quotes again.

    After a contradiction none: which of both was right is not known.
    """
    back_at = ended.own_since
    if back_at is None or row.received_at - back_at < RETURN:
        back_at = row.received_at
    return {pk: distance.since(back_at) for pk, distance in before.items()}


def _with_own(row: Stored, use: Use) -> Use:
    """Return the use after a quote of the source itself."""
    came_at = row.received_at
    if came_at == use.own_at:
        return use
    goes_on = use.own_since is not None and came_at - use.own_at <= OWN_GAP
    return replace(use, own_at=came_at, own_since=use.own_since if goes_on else came_at)


def _first(look: Look, own_at: datetime) -> Use | None:
    for pk in look.fallbacks:
        distance = look.distances.get(pk, Distance())
        offsets = distance.known
        if offsets is None or not look.is_measured(distance) or not look.is_current(pk, CURRENT):
            continue
        if max(map(abs, offsets)) <= MAX_OFFSET_SHARE * look.row.quote.bid:
            return Use(pk, offsets, own_at)
    return None


def shifted(other: Stored, use: Use) -> Quote | None:
    """Return a fallback's quote as the source would have sent it; None: it has no such price.

    Where the fallback's spread is smaller than it was, bid and ask meet in their middle.
    """
    quote = other.quote
    bid, ask = quote.bid + use.offsets[0], quote.ask + use.offsets[1]
    if bid > ask:
        bid = ask = (bid + ask) / 2
    return Quote(quote.symbol, bid, ask, quote.time) if bid > 0 else None


def to_publish(look: Look, use: Use | None) -> Quote | None:
    """Return the quote of the fallback in use, if it is newer than what is stored; else None.

    Nothing while the source itself quotes, and nothing while its market is closed.
    """
    if use is None or use.own_since is not None or not look.is_open:
        return None
    other = look.fallbacks.get(use.fallback_id)
    if other is None or not other.is_own or other.received_at <= look.row.received_at:
        return None
    return shifted(other, use)


def is_covered(look: Look, use: Use) -> bool:
    """Return whether a pair on a fallback has a price of now, or its market is closed."""
    own_quotes = look.row.is_own and look.now - look.row.received_at <= LOST
    return own_quotes or not look.is_open or look.is_current(use.fallback_id, LOST)
