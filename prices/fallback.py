"""When a source's pair gets the prices of a fallback, and at which price. Pure.

While a source is silent or suspect, its next fallback that delivers is used, pair by pair. Two
sources never quote the same price, so the fallback's prices are shifted: by what the source's own
bid and ask were more than the fallback's when the source spoke last (`Offsets`). The first price
after a switch is therefore the last one before it, moved by what the fallback has moved since. So a
switch itself reaches no stop, target, trigger, trailing stop or loss limit; a real move does.

What the source itself quotes always counts, and sets the offsets again. Its fallback ends only when
it has quoted for RETURN_SECONDS without a gap, so that a source that comes and goes does not flap.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from brokers.types import Quote

SILENT = timedelta(seconds=30)  # a quiet pair of a broker is confirmed every 15 s
CURRENT = timedelta(seconds=20)  # so long a stored quote of a fallback is a price of now
OWN_GAP = timedelta(seconds=20)  # a longer one begins the return again
RETURN = timedelta(seconds=30)
ANCHORED_WITHIN = timedelta(seconds=2)  # both prices of an offset were known within this time
MAX_OFFSET_SHARE = Decimal("0.02")  # sources that are further apart quote different things

Offsets = tuple[Decimal, Decimal]
"""Of bid and ask: the source's less the fallback's."""


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
class Anchors:
    """The offsets to each fallback as of the source's stored quote that came at `at`."""

    at: datetime | None = None
    offsets: Mapping[int, Offsets] = field(default_factory=dict)


def anchored(
    before: Anchors, row: Stored, fallbacks: Mapping[int, Stored], use: Use | None, now: datetime
) -> Anchors:
    """Return the offsets after a look at the stored quotes: new ones if the source's has changed.

    The offsets of the fallback in use are kept while its own prices are what is stored.
    """
    if row.received_at == before.at:
        return before
    if now - row.received_at > ANCHORED_WITHIN:  # what the others quoted at that time is not known
        return Anchors(row.received_at, {})
    found = {
        pk: (row.quote.bid - other.quote.bid, row.quote.ask - other.quote.ask)
        for pk, other in fallbacks.items()
        if is_current(other, now)
    }
    if use is not None and not row.is_own:
        found[use.fallback_id] = use.offsets
    return Anchors(row.received_at, found)


def is_current(row: Stored, now: datetime) -> bool:
    """Return whether a stored quote of a fallback is a price of now, and its own."""
    return row.is_own and now - row.received_at <= CURRENT


def next_use(
    row: Stored, use: Use | None, fallbacks: Mapping[int, Stored], anchors: Anchors, now: datetime
) -> Use | None:
    """Return which fallback a pair has from now on; None: its source's own prices.

    fallbacks: their stored quotes, the first choice first.
    """
    if use is None:
        is_silent = row.is_own and now - row.received_at > SILENT
        return _first(row, fallbacks, anchors, now, row.received_at) if is_silent else None
    if row.is_own and row.received_at != use.own_at:
        use = _with_own(row, use, anchors)
    if use.own_since is not None and now - use.own_at > OWN_GAP:
        use = replace(use, own_since=None)
    if row.is_own and use.own_since is not None and now - use.own_since >= RETURN:
        return None
    used = fallbacks.get(use.fallback_id)
    if used is not None and is_current(used, now):
        return use
    other = _first(row, fallbacks, anchors, now, use.own_at)
    return replace(other, own_since=use.own_since) if other else use


def _with_own(row: Stored, use: Use, anchors: Anchors) -> Use:
    """Return the use after a quote of the source itself, which sets the offsets again."""
    goes_on = use.own_since is not None and row.received_at - use.own_at <= OWN_GAP
    since = use.own_since if goes_on else row.received_at
    offsets = anchors.offsets.get(use.fallback_id) or use.offsets
    return replace(use, offsets=offsets, own_at=row.received_at, own_since=since)


def _first(
    row: Stored, fallbacks: Mapping[int, Stored], anchors: Anchors, now: datetime, own_at: datetime
) -> Use | None:
    for pk, other in fallbacks.items():
        offsets = anchors.offsets.get(pk)
        if offsets is None or not is_current(other, now):
            continue
        if max(map(abs, offsets)) <= MAX_OFFSET_SHARE * row.quote.bid:
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


def to_publish(row: Stored, use: Use | None, fallbacks: Mapping[int, Stored]) -> Quote | None:
    """Return the quote of the fallback in use, if it is newer than what is stored; else None."""
    if use is None or (other := fallbacks.get(use.fallback_id)) is None or not other.is_own:
        return None
    return shifted(other, use) if other.received_at > row.received_at else None
