"""Which pair a new signal means by a symbol without a currency, at every entry point: what its feed
itself has traded decides before what the brokers of its followers list."""

from collections.abc import Collection

from common.codes import Code
from common.errors import InvalidInputError
from common.sql import rows
from signals.listings import check_pair, clearly_meant, listed_pairs, not_completed
from signals.models import Feed
from signals.open_signals import open_pairs
from users.tenancy import for_all_tenants

# The first two pairs of a base among a feed's newest trades, by the index signal_feed_published.
TRADED_LATELY = """
SELECT DISTINCT currency_pair AS pair FROM (
  SELECT currency_pair FROM signals_signal
  WHERE feed_id = %(feed)s AND published_at IS NOT NULL AND action = 'OPEN'
  ORDER BY published_at DESC LIMIT 1000) newest
WHERE starts_with(currency_pair, %(base)s) LIMIT 2
"""


def settled_pair(feed: Feed, symbol: str, *, field: str = "symbol") -> str:
    """Return the pair that a symbol of a new signal stands for, one that an account of the feed can
    trade. In a transaction.

    symbol: what `read_symbol` returned. Raises InvalidInputError SYMBOL_UNKNOWN, SYMBOL_NOT_LISTED.
    """
    pair = pair_meant(feed, symbol, field=field)
    check_pair(feed, pair, field=field)
    return pair


def pair_meant(feed: Feed, symbol: str, *, field: str) -> str:
    """Return the pair of a signal's symbol; for an alert, call it in the alert's turn.

    A symbol without a currency is, of the pairs of this base: the one that the feed has open and
    has not closed itself; else what its accounts list and the one that it traded lately come to
    (`clearly_meant`); else, where they list none, the only one that it has traded. Several at the
    first step are never told apart by what followers' accounts are.

    Raises InvalidInputError SYMBOL_UNKNOWN.
    """
    if "/" in symbol:
        return symbol
    with for_all_tenants():
        opened = open_pairs(feed.pk, symbol)
    unended = [one.pair for one in opened if not one.is_ended]
    if len(unended) == 1:
        return unended[0]
    if unended:
        raise _several(symbol, unended, "this feed has open trades in all of them", field)
    lately = rows(TRADED_LATELY, {"feed": feed.pk, "base": f"{symbol}/"})
    traded = [str(row.pair) for row in lately]
    found = listed_pairs(feed, symbol)
    if meant := clearly_meant(found, traded[0] if len(traded) == 1 else ""):
        return meant
    known = traded or [one.pair for one in opened]
    if found or not known:
        raise not_completed(feed, symbol, found, field)
    if len(known) == 1:
        return known[0]
    raise _several(symbol, known, "this feed has traded all of them", field)


def _several(word: str, pairs: Collection[str], why: str, field: str) -> InvalidInputError:
    near = sorted(pairs)
    detail = f"{word!r} may be {' or '.join(near)}: {why}. Send the symbol with its currency."
    return InvalidInputError(Code.SYMBOL_UNKNOWN, detail, field=field, near=near)
