"""Find the pair of a symbol without a currency, for new signals at every entry point.

What the feed itself has traded counts more than what its followers' brokers list.
"""

from collections.abc import Collection
from dataclasses import dataclass

from common.db.sql import rows
from common.errors import InvalidInputError
from common.reason_codes import Code
from signals.checks.listings import (
    incomplete_symbol_error,
    listed_pairs,
    require_listed_pair,
    unambiguous_pair,
)
from signals.models import Direction, Feed
from signals.open_signals import OpenPair, open_pairs
from users.tenancy import for_all_tenants

# The first two pairs of a base among a feed's newest trades, by the index signal_feed_published.
RECENTLY_TRADED = """
SELECT DISTINCT currency_pair AS pair FROM (
  SELECT currency_pair FROM signals_signal
  WHERE feed_id = %(feed)s AND published_at IS NOT NULL AND action = 'OPEN'
  ORDER BY published_at DESC LIMIT 1000) newest
WHERE starts_with(currency_pair, %(base)s) LIMIT 2
"""

OPEN_IN_ALL = (
    "this feed has open trades in all of them. Send the symbol with its currency. To end the "
    "trades in one of them, even if only one account still holds it, send CLOSE with that pair as "
    "the symbol."
)
HELD_IN_ALL = (
    "accounts still hold trades in all of them that this feed has closed. Send a CLOSE for each, "
    "with the pair as the symbol."
)
TRADED_ALL = "this feed has traded all of them. Send the symbol with its currency."


def settled_pair(feed: Feed, symbol: str, *, field: str = "symbol") -> str:
    """Return the pair of a new signal's symbol, if an account of the feed can trade it. In a
    transaction.

    symbol: a result of `read_symbol`. Raises InvalidInputError SYMBOL_UNKNOWN, SYMBOL_NOT_LISTED.
    """
    pair = resolve_pair(feed, symbol, field=field)
    require_listed_pair(feed, pair, field=field)
    return pair


@dataclass(frozen=True, slots=True)
class Closing:
    """An alert that only closes trades. side: of these trades; None: both."""

    side: Direction | None


def resolve_pair(feed: Feed, symbol: str, *, field: str, closing: Closing | None = None) -> str:
    """Return the pair of a signal's symbol; for an alert, after `lock_alert_order`.

    A symbol without a currency is, of the pairs of this base, the first that applies of:
    1. the pair that the feed has open and has not closed itself;
    2. for an alert that only closes: the pair that accounts still hold;
    3. the clear choice among the listed pairs and the recently traded one (`unambiguous_pair`);
    4. if no account lists one: the only pair that the feed has traded.
    Several pairs in 1 or 2 are refused, whatever the followers' accounts list.

    Raises InvalidInputError SYMBOL_UNKNOWN.
    """
    if "/" in symbol:
        return symbol
    opened = _opened(feed, symbol, closing)
    unended = [item.pair for item in opened if not item.is_ended]
    held = [item.pair for item in opened]
    if unended:
        return _only(unended, symbol, OPEN_IN_ALL, field)
    if closing and held:
        return _only(held, symbol, HELD_IN_ALL, field)
    recent = rows(RECENTLY_TRADED, {"feed": feed.pk, "base": f"{symbol}/"})
    traded = [str(row.pair) for row in recent]
    options = listed_pairs(feed, symbol)
    if pair := unambiguous_pair(options, traded[0] if len(traded) == 1 else ""):
        return pair
    known = traded or held
    if options or not known:
        raise incomplete_symbol_error(feed, symbol, options, field)
    return _only(known, symbol, TRADED_ALL, field)


def _opened(feed: Feed, symbol: str, closing: Closing | None) -> list[OpenPair]:
    """Return the open pairs; if an alert closes one side, those with trades of it, if any."""
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
