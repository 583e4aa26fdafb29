"""Whether the accounts that take a feed can trade a symbol, and which names come near it.

`connections.market_data.instrument_books` knows what brokers list and registers itself at
start-up. Without it every symbol that is written as one is accepted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from common.errors import ConflictError, InvalidInputError
from common.reason_codes import Code
from signals.models import Feed, Signal
from signals.symbol_suggestions import MAX_SUGGESTIONS, suggest_symbols


@dataclass(frozen=True, slots=True)
class Reach:
    """How many of the active accounts that take a feed list a symbol.

    unread: accounts whose broker's list has not been read yet; they may list it or not. None of
    them can trade anything before their connection test, which reads it.
    """

    followers: int
    listing: int
    unread: int

    @property
    def is_unlisted(self) -> bool:
        """Whether none of them can trade it, as far as lists were read. One account without a list
        does not keep what is mistyped from being refused for all others; where no list was read
        nothing is known."""
        return not self.listing and self.unread < self.followers

    @property
    def sentence(self) -> str:
        """One sentence for the person who is about to publish."""
        if not self.followers:
            return "No active account takes this feed: whether a broker lists the symbol is open."
        said = f"{self.listing} of {self.followers} accounts that take this feed list the symbol"
        without = self.followers - self.listing - self.unread
        if without:
            said += f"; {without} {'does' if without == 1 else 'do'} not and will be skipped"
        if self.unread:
            said += f"; of {self.unread} the broker's list has not been read yet"
        return f"{said}."

    @property
    def remedy(self) -> str:
        """One sentence on the accounts without a list; empty if there are none."""
        if not self.unread:
            return ""
        have = "1 account has" if self.unread == 1 else f"{self.unread} accounts have"
        return f"{have} no list yet: a connection test reads it."


@dataclass(frozen=True, slots=True)
class ListedPair:
    """A pair that accounts of a feed can trade.

    listing: the brokers of so many owners list it; a map of the feed's own owner counts as a list.
    able: so many owners can trade it, by a list or a map. is_own: whether the feed's owner can.
    since: the number of the first subscription among theirs.
    """

    pair: str
    listing: int
    able: int
    is_own: bool
    since: int = 0

    @property
    def owners(self) -> int:
        """How many owners count for it: those who map it only where no broker lists it."""
        return self.listing or self.able

    def outweighs(self, other: "ListedPair") -> bool:
        """Whether the other one rests on a single subscriber, and this one on several, or on one
        who took the feed before."""
        is_alone = other.able == 1 and not other.is_own
        return is_alone and (self.owners > 1 or self.since < other.since)


class Listings(Protocol):
    """What brokers list. only_owner: only that user's accounts count."""

    def reach(self, feed: Feed, pair: str, only_owner: int | None) -> Reach: ...

    def completions(self, feed: Feed, word: str, only_owner: int | None) -> list[ListedPair]:
        """Pairs of this base that the feed's accounts list, or map to what they list."""
        ...

    def names(self, feed: Feed, only_owner: int | None) -> list[str]:
        """Pairs that the feed's accounts list, or map to what they list; so many that names near
        one are found."""
        ...


# A pair that so many times as many owners can trade as any other of its base is what is meant:
# what a few accounts list keeps no provider's signal from all others.
CLEARLY = 10

_listings: Listings | None = None


def use(listings: Listings | None) -> None:
    """Register the source of listings."""
    global _listings
    _listings = listings


def reach_of(feed: Feed, pair: str, *, only_owner: int | None = None) -> Reach:
    """Return how many accounts that take the feed list a pair. In a transaction."""
    return _listings.reach(feed, pair, only_owner) if _listings else Reach(0, 0, 0)


def reach_of_signal(signal: Signal) -> Reach:
    """The same for a signal's publication. In a transaction."""
    return reach_of(signal.feed, signal.currency_pair, only_owner=_only_owner(signal))


def listed_pairs(feed: Feed, word: str) -> list[ListedPair]:
    """Return the pairs of this base that the feed's accounts can trade. In a transaction."""
    return _listings.completions(feed, word, _own(feed)) if _listings else []


def choices(found: Sequence[ListedPair]) -> list[ListedPair]:
    """Return what a word may mean, what most owners have first: the pairs that brokers list; where
    none does, those that accounts map. Pure."""
    listed = [one for one in found if one.listing] or found
    return sorted(listed, key=lambda one: (-one.owners, one.pair))


def clearly_meant(found: Sequence[ListedPair], traded: str = "") -> str:
    """Return which of these pairs is meant; empty: it cannot be known. Pure.

    One that CLEARLY more owners have than any other; else the one that the feed's own owner has;
    else the one that the feed has traded. What it has traded stays, too, against a clear choice
    that is not the feed owner's and that fewer can trade; it counts for nothing if it is outweighed
    (`ListedPair.outweighs`).
    """
    kept = next((one for one in found if one.pair == traded), None)
    if kept and any(one.outweighs(kept) for one in choices(found)):
        return clearly_meant([one for one in found if one is not kept])
    meant = _clear(choices(found))
    if kept and (meant is None or (kept.able >= meant.able and not meant.is_own)):
        return kept.pair
    return meant.pair if meant else ""


def _clear(found: Sequence[ListedPair]) -> ListedPair | None:
    if len(found) == 1 or (found and found[0].owners >= CLEARLY * found[1].owners):
        return found[0]
    own = [one for one in found if one.is_own]
    return own[0] if len(own) == 1 else None


def require_listed_pair(feed: Feed, pair: str, *, field: str = "symbol") -> None:
    """Raise InvalidInputError SYMBOL_NOT_LISTED if none of a feed's accounts could trade a pair,
    with the names that come near. In a transaction."""
    reach = reach_of(feed, pair, only_owner=_own(feed))
    if reach.is_unlisted:
        detail, near = _unlisted(feed, pair, _own(feed), reach)
        raise InvalidInputError(Code.SYMBOL_NOT_LISTED, detail, field=field, near=near)


def require_listed(signal: Signal) -> None:
    """Raise ConflictError SYMBOL_NOT_LISTED if no account could trade a signal now."""
    reach = reach_of_signal(signal)
    if reach.is_unlisted:
        detail, near = _unlisted(signal.feed, signal.currency_pair, _only_owner(signal), reach)
        raise ConflictError(Code.SYMBOL_NOT_LISTED, detail, near=near)


def not_completed(
    feed: Feed, word: str, found: Sequence[ListedPair], field: str
) -> InvalidInputError:
    """Return the refusal of a word without a currency that lists do not complete: as which pairs
    they have it, or the names that come near."""
    near = sorted(one.pair for one in choices(found)[:MAX_SUGGESTIONS])
    if found:
        detail = f"{word!r} may be {', '.join(near)}: write which."
    else:
        near = _suggestions(feed, word, _own(feed))
        detail = f"{word!r} names no currency, and no account that takes {feed.slug!r} lists it."
        detail += f" {_describe(near)}" if near else f" Write it as {word}/USD, for example."
    return InvalidInputError(Code.SYMBOL_UNKNOWN, detail, field=field, near=near)


def _unlisted(feed: Feed, pair: str, only_owner: int | None, reach: Reach) -> tuple[str, list[str]]:
    near = _suggestions(feed, pair, only_owner)
    said = [f"No account that takes {feed.slug!r} lists {pair}.", _describe(near), reach.remedy]
    return " ".join(filter(None, said)), near


def _suggestions(feed: Feed, wanted: str, only_owner: int | None) -> list[str]:
    return suggest_symbols(wanted, _listings.names(feed, only_owner)) if _listings else []


def _describe(near: list[str]) -> str:
    return f"Listed and near: {', '.join(near)}." if near else ""


def _own(feed: Feed) -> int | None:
    """The feed's owner, if the feed's approval is that owner's alone."""
    return feed.owner_id if feed.approved_by_owner else None


def _only_owner(signal: Signal) -> int | None:
    """The feed's owner, if no operator has approved the signal."""
    own = signal.feed.approved_by_owner and signal.approved_by_id is None
    return signal.feed.owner_id if own else None
