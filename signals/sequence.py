"""In which order a feed's alerts and closes are carried out, whatever order they arrive in.

Each one that was carried out is stored for a week (`ReceivedAlert`).
"""

import zlib

from common.db.sql import rows
from signals.locks import candidates_shared
from signals.models import Feed, ReceivedAlert
from signals.symbols import needs_currency
from users.tenancy import for_all_tenants

RETENTION_DAYS = 7
# Namespaces of the advisory locks that serialise alerts: of a feed, and of a symbol of a feed.
_FEED_LOCK, _SYMBOL_LOCK = 0x46434111, 0x46434112
_REMOVE_OLD = f"""
WITH old AS (
  SELECT id FROM signals_receivedalert
  WHERE received_at < clock_timestamp() - interval '{RETENTION_DAYS} days'
  ORDER BY received_at LIMIT 100 FOR UPDATE SKIP LOCKED
)
DELETE FROM signals_receivedalert WHERE id IN (SELECT id FROM old) RETURNING 1 AS removed
"""


def lock_alert_order(feed: Feed, symbol: str) -> None:
    """Lock out other alerts of the feed about a symbol until the transaction ends.

    Also locks the feed's candidates, which must come before the feed's own lock. Alerts about other
    symbols are not blocked. symbol: a pair, or a base without its currency, whose pair is found
    later. Empty: not known yet; then all alerts of the feed wait for each other.
    """
    if not symbol:
        rows("SELECT pg_advisory_xact_lock(%s::int, %s::int)", (_FEED_LOCK, feed.pk % 2**31))
    else:
        rows("SELECT pg_advisory_xact_lock_shared(%s::int, %s::int)", (_FEED_LOCK, feed.pk % 2**31))
        rows("SELECT pg_advisory_xact_lock(%s::int, %s::int)", (_SYMBOL_LOCK, _key(feed, symbol)))
    candidates_shared(feed.pk)


def _key(feed: Feed, symbol: str) -> int:
    """Return the lock number of a feed's symbol. Symbols with the same number only wait more.

    A base that may be sent without its currency has one lock for all its pairs: which of them an
    alert is about may depend on an alert that is still being processed.
    """
    return zlib.crc32(f"{feed.pk} {sequence_symbol(symbol)}".encode()) - 2**31


def sequence_symbol(symbol: str) -> str:
    """Return the name under which alerts about a symbol wait for each other; '' for all symbols."""
    return symbol if needs_currency(symbol) else symbol.partition("/")[0]


def record_received(**values: object) -> None:
    """Store what was carried out, and remove some old ones of any feed."""
    ReceivedAlert.objects.create(**values)
    with for_all_tenants():
        rows(_REMOVE_OLD)
