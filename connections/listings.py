"""What the brokers of the accounts that take a feed list: the source of `signals.listings`.

A subscription's own mapping comes before a broker's list, as where orders are sized: a symbol that
is mapped to what the broker does not list cannot be traded.
"""

from typing import Any

from common.sql import rows
from connections.eligibility import CANDIDATES_SQL, LISTS_SQL
from signals.listings import Reach
from signals.models import Feed
from users.tenancy import for_all_tenants

# An account of MetaTrader has a list of its own, with thousands of symbols: names that come near
# one are looked for in so many lists, and so many names.
MOST_BOOKS, MOST_NAMES = 20, 5000

_FOLLOWERS = f"""
follower AS (
  SELECT c.instrument_book AS book, s.symbol_map AS map FROM {CANDIDATES_SQL}
  WHERE c.is_active AND c.archived_at IS NULL
    AND (%(only_owner)s::bigint IS NULL
      OR coalesce(c.user_id, c.admin_id) = %(only_owner)s::bigint)
)"""

_REACH = f"""
WITH {_FOLLOWERS}, grouped AS (
  SELECT book, map ->> %(pair)s::text AS mapped, count(*) AS many FROM follower GROUP BY 1, 2
), judged AS (
  SELECT many, {LISTS_SQL.format(book="g.book", mapped="g.mapped")} AS lists FROM grouped g
)
SELECT coalesce(sum(many), 0)::int AS followers,
  coalesce(sum(many) FILTER (WHERE lists), 0)::int AS listing,
  coalesce(sum(many) FILTER (WHERE lists IS NULL), 0)::int AS unread
FROM judged
"""

_NAMES = f"""
WITH {_FOLLOWERS}, books AS (
  SELECT book FROM follower WHERE book <> '' GROUP BY book ORDER BY count(*) DESC, book
  LIMIT {MOST_BOOKS}
)
SELECT pair FROM (
  SELECT i.pair FROM books b JOIN connections_instrument i ON i.book = b.book AND i.is_preferred
  WHERE i.pair LIKE %(like)s
  UNION
  SELECT name FROM (SELECT DISTINCT map FROM follower WHERE map <> '{{}}' LIMIT {MOST_BOOKS}) m,
    LATERAL jsonb_object_keys(m.map) name WHERE name LIKE %(like)s
) named ORDER BY pair LIMIT {MOST_NAMES}
"""


class BrokerListings:
    """Answers for all tenants' accounts: only counts and canonical names leave it."""

    def reach(self, feed: Feed, pair: str, only_owner: int | None) -> Reach:
        """Count the active followers of a feed and those that list a pair. One statement."""
        with for_all_tenants():
            (found,) = rows(_REACH, {**_asked(feed, only_owner), "pair": pair})
        return Reach(found.followers, found.listing, found.unread)

    def completions(self, feed: Feed, word: str, only_owner: int | None) -> list[str]:
        return self._names(feed, only_owner, f"{word}/%")

    def names(self, feed: Feed, only_owner: int | None) -> list[str]:
        return self._names(feed, only_owner, "%")

    def _names(self, feed: Feed, only_owner: int | None, like: str) -> list[str]:
        with for_all_tenants():
            found = rows(_NAMES, {**_asked(feed, only_owner), "like": like})
        return [row.pair for row in found]


def _asked(feed: Feed, only_owner: int | None) -> dict[str, Any]:
    return {
        "feed_id": feed.pk,
        "reaches_admins": feed.reaches_admins,
        "only_owner": only_owner,
    }
