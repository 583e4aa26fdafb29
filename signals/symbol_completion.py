"""Which pair a new signal means by a symbol without a currency, at every entry point: what its feed
itself has traded decides before what the brokers of its followers list."""

from collections.abc import Collection
from dataclasses import dataclass

from common.errors import InvalidInputError
from common.reason_codes import Code
from common.sql import rows
from signals.listings import clearly_meant, listed_pairs, not_completed, require_listed_pair
from signals.models import Direction, Feed
from signals.open_signals import OpenPair, open_pairs
from users.tenancy import for_all_tenants

# The first two pairs of a base among a feed's newest trades, by the index signal_feed_published.
TRADED_LATELY = """
SELECT DISTINCT currency_pair AS pair FROM (
  SELECT currency_pair FROM signals_signal
  WHERE feed_id = %(feed)s AND published_at IS NOT NULL AND action = 'OPEN'
  ORDER BY published_at DESC LIMIT 1000) newest
WHERE starts_with(currency_pair, %(base)s) LIMIT 2
"""

OPEN_IN_ALL = (
    "this feed has open trades in all of them. Send the symbol with its currency. To end those in "
    "one of them, also if only one account still holds it, send CLOSE with that pair as the symbol."
)
HELD_IN_ALL = (
    "accounts still hold trades in all of them that this feed has closed. Send a CLOSE for each, "
    "with the pair as the symbol."
)
TRADED_ALL = "this feed has traded all of them. Send the symbol with its currency."


def settled_pair(feed: Feed, symbol: str, *, field: str = "symbol") -> str:
    """Return the pair that a symbol of a new signal stands for, one that an account of the feed can
    trade. In a transaction.

    symbol: what `read_symbol` returned. Raises InvalidInputError SYMBOL_UNKNOWN, SYMBOL_NOT_LISTED.
    """
    pair = pair_meant(feed, symbol, field=field)
    require_listed_pair(feed, pair, field=field)
    return pair


@dataclass(frozen=True, slots=True)
class Closing:
    """An alert that only closes: trades of this side; None: of both."""

    side: Direction | None


def pair_meant(feed: Feed, symbol: str, *, field: str, closing: Closing | None = None) -> str:
    """Return the pair of a signal's symbol; for an alert, call it in the alert's turn.

    A symbol without a currency is, of the pairs of this base: the one that the feed has open and
    has not closed itself; for what only closes, else the one that accounts still hold; else what
    its accounts list and the one that it traded lately come to (`clearly_meant`); else, where they
    list none, the only one that it has traded. Several at the first steps are never told apart by
    what followers' accounts are.

    Raises InvalidInputError SYMBOL_UNKNOWN.
    """
    if "/" in symbol:
        return symbol
    opened = _opened(feed, symbol, closing)
    unended = [one.pair for one in opened if not one.is_ended]
    held = [one.pair for one in opened]
    if unended:
        return _only(unended, symbol, OPEN_IN_ALL, field)
    if closing and held:
        return _only(held, symbol, HELD_IN_ALL, field)
    lately = rows(TRADED_LATELY, {"feed": feed.pk, "base": f"{symbol}/"})
    traded = [str(row.pair) for row in lately]
    found = listed_pairs(feed, symbol)
    if meant := clearly_meant(found, traded[0] if len(traded) == 1 else ""):
        return meant
    known = traded or held
    if found or not known:
        raise not_completed(feed, symbol, found, field)
    return _only(known, symbol, TRADED_ALL, field)


def _opened(feed: Feed, symbol: str, closing: Closing | None) -> list[OpenPair]:
    """Return the pairs that something is open of; for what closes one side, of that side if any."""
    with for_all_tenants():
        if closing and closing.side:
            of_side = open_pairs(feed.pk, symbol, closing.side)
            if of_side:
                return of_side
        return open_pairs(feed.pk, symbol)


def _only(pairs: Collection[str], word: str, why: str, field: str) -> str:
    """Return the only one of these pairs. Raises InvalidInputError SYMBOL_UNKNOWN for several."""
    near = sorted(pairs)
    if len(near) == 1:
        return near[0]
    detail = f"{word!r} may be {' or '.join(near)}: {why}"
    raise InvalidInputError(Code.SYMBOL_UNKNOWN, detail, field=field, near=near)
