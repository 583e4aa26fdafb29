"""Whether the accounts that take a feed can trade a symbol, and which names are similar.

`connections.market_data.instrument_books` provides the brokers' lists and registers itself at
start-up. Without it every well-formed symbol is accepted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from common.errors import ConflictError, InvalidInputError
from common.reason_codes import Code
from signals.models import Feed, Signal
from signals.symbol_suggestions import MAX_SUGGESTIONS, suggest_symbols
from signals.symbols import usual_pair


@dataclass(frozen=True, slots=True)
class Reach:
    """How many of the active accounts that take a feed list a symbol.

    unread: accounts whose broker's list has not been read yet, so that it is not known. They cannot
    trade before their connection test, which reads the list.
    """

    followers: int
    listing: int
    unread: int

    @property
    def is_unlisted(self) -> bool:
        """Whether no account can trade it, as far as lists were read; False if none was read.

        A single account without a list does not make a mistyped symbol acceptable.
        """
        return not self.listing and self.unread < self.followers

    @property
    def sentence(self) -> str:
        """A sentence for the user who is about to publish."""
        if not self.followers:
            return (
                "No active account takes this feed, so it is not known whether a broker lists the"
                " symbol."
            )
        text = f"{self.listing} of {self.followers} accounts that take this feed list the symbol"
        without = self.followers - self.listing - self.unread
        if without:
            text += f"; {without} {'does' if without == 1 else 'do'} not and will be skipped"
        if self.unread:
            text += f"; of {self.unread} the broker's list has not been read yet"
        return f"{text}."

    @property
    def remedy(self) -> str:
        """A sentence about the accounts without a list; empty if there are none."""
        if not self.unread:
            return ""
        have = "1 account has" if self.unread == 1 else f"{self.unread} accounts have"
        return f"{have} no list yet: a connection test reads it."


@dataclass(frozen=True, slots=True)
class ListedPair:
    """A pair that accounts of a feed can trade.

    listing: owners whose broker lists it; a symbol map of the feed's owner counts as a list. able:
    owners who can trade it, by a list or a map. is_own: whether the feed's owner can. since: the id
    of the first of their subscriptions.
    """

    pair: str
    listing: int
    able: int
    is_own: bool
    since: int = 0

    @property
    def owners(self) -> int:
        """How many owners count: those who list it, or if none does, those who map it."""
        return self.listing or self.able

    def outweighs(self, other: "ListedPair") -> bool:
        """Whether only one subscriber has the other pair, and several, or an earlier one, have this
        one."""
        is_alone = other.able == 1 and not other.is_own
        return is_alone and (self.owners > 1 or self.since < other.since)


class Listings(Protocol):
    """A source of what brokers list. only_owner: only that user's accounts count."""

    def reach(self, feed: Feed, pair: str, only_owner: int | None) -> Reach:
        """How many of the feed's accounts list the pair."""
        ...

    def completions(self, feed: Feed, word: str, only_owner: int | None) -> list[ListedPair]:
        """Pairs of this base that the feed's accounts list, or map to what they list."""
        ...

    def names(self, feed: Feed, only_owner: int | None) -> list[str]:
        """Pairs that the feed's accounts list, or map to what they list, for suggestions."""
        ...


# A word means the pair that this many times as many owners can trade as any other pair of its base:
# a few accounts with an unusual pair must not block a provider's signal for all others.
CLEAR_MAJORITY = 10

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


def choices(options: Sequence[ListedPair]) -> list[ListedPair]:
    """Return the pairs that a word may mean, those of most owners first. Pure.

    These are the pairs that brokers list or, if none does, those that accounts map.
    """
    listed = [option for option in options if option.listing] or options
    return sorted(listed, key=lambda option: (-option.owners, option.pair))


def unambiguous_pair(options: Sequence[ListedPair], traded: str = "") -> str:
    """Return which of these pairs a word means; empty if that is not clear. Pure.

    It is the pair with a CLEAR_MAJORITY of owners, else the one that the feed's own owner has, else
    the one that the feed has traded. The traded pair also wins over a clear choice that is not the
    feed owner's and that fewer can trade; it does not count if another outweighs it
    (`ListedPair.outweighs`).
    """
    earlier = next((option for option in options if option.pair == traded), None)
    if earlier and any(option.outweighs(earlier) for option in choices(options)):
        return unambiguous_pair([option for option in options if option is not earlier])
    clear = _clear_choice(choices(options))
    if earlier and (clear is None or (earlier.able >= clear.able and not clear.is_own)):
        return earlier.pair
    return clear.pair if clear else ""


def _clear_choice(options: Sequence[ListedPair]) -> ListedPair | None:
    if len(options) == 1 or (options and options[0].owners >= CLEAR_MAJORITY * options[1].owners):
        return options[0]
    own = [option for option in options if option.is_own]
    return own[0] if len(own) == 1 else None


def require_listed_pair(feed: Feed, pair: str, *, field: str = "symbol") -> None:
    """Raise InvalidInputError SYMBOL_NOT_LISTED, with similar names, if none of a feed's accounts
    could trade a pair. In a transaction."""
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


def incomplete_symbol_error(
    feed: Feed, word: str, options: Sequence[ListedPair], field: str
) -> InvalidInputError:
    """Return the error for a word without a currency that lists do not complete.

    It has the pairs that the word may mean, or similar names.
    """
    near = sorted(option.pair for option in choices(options)[:MAX_SUGGESTIONS])
    if options:
        detail = f"{word!r} may be {', '.join(near)}: write which one you mean."
    else:
        near = _suggestions(feed, word, _own(feed))
        detail = f"{word!r} names no currency, and no account that takes {feed.slug!r} lists it."
        detail += (
            f" {_describe(near)}" if near else f" Write it as {usual_pair(word)}, for example."
        )
    return InvalidInputError(Code.SYMBOL_UNKNOWN, detail, field=field, near=near)


def _unlisted(feed: Feed, pair: str, only_owner: int | None, reach: Reach) -> tuple[str, list[str]]:
    near = _suggestions(feed, pair, only_owner)
    parts = [f"No account that takes {feed.slug!r} lists {pair}.", _describe(near), reach.remedy]
    return " ".join(filter(None, parts)), near


def _suggestions(feed: Feed, symbol: str, only_owner: int | None) -> list[str]:
    return suggest_symbols(symbol, _listings.names(feed, only_owner)) if _listings else []


def _describe(near: list[str]) -> str:
    return f"Similar listed symbols: {', '.join(near)}." if near else ""


def _own(feed: Feed) -> int | None:
    """Return the feed's owner if only the owner has approved the feed, else None."""
    return feed.owner_id if feed.approved_by_owner else None


def _only_owner(signal: Signal) -> int | None:
    """Return the feed's owner if no operator has approved feed or signal, else None."""
    own = signal.feed.approved_by_owner and signal.approved_by_id is None
    return signal.feed.owner_id if own else None
