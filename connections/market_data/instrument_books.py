"""Which instruments the brokers of a feed's followers list: the data of `signals.checks.listings`.

A subscription's own symbol map takes precedence over the broker's list, as it does when orders are
sized: a pair that is mapped to a symbol the broker does not list cannot be traded.
"""

from typing import Any

from common.db.sql import rows
from connections.eligibility import CANDIDATES_SQL, IS_LISTED_SQL
from connections.joins import not_twin_sql
from signals.checks.listings import ListedPair, Reach
from signals.models import Feed
from users.tenancy import for_all_tenants

# Each MetaTrader account has its own book with thousands of symbols. Similar names are searched in
# so many books, and among so many names.
MAX_BOOKS, MAX_NAMES = 20, 5000

# route: the subscription, if it names several accounts. Each of them is a row, and one is enough.
_FOLLOWERS = f"""
follower AS (
  SELECT coalesce(a.instrument_book, c.instrument_book) AS book, CASE WHEN r.id IS NULL
    THEN s.symbol_map ELSE s.symbol_map || r.symbol_map END AS map,
    coalesce(c.user_id, c.admin_id) AS owner, coalesce(s.id, 0) AS subscription,
    r.subscription_id AS route
  FROM {CANDIDATES_SQL}
  LEFT JOIN connections_subscriptionroute r ON r.subscription_id = s.id AND s.route_policy <> ''
  LEFT JOIN connections_executionconnection a ON a.id = r.connection_id
  WHERE c.is_active AND c.archived_at IS NULL AND {not_twin_sql("c.id")}
    AND (r.id IS NULL OR a.is_active AND a.archived_at IS NULL)
    AND (%(only_owner)s::bigint IS NULL
      OR coalesce(c.user_id, c.admin_id) = %(only_owner)s::bigint)
)"""

_MAPPED = """(SELECT own.symbol FROM connections_instrument own
      WHERE own.book = f.book AND own.symbol = {symbol}) IS NOT NULL"""

_REACH = f"""
WITH {_FOLLOWERS}, grouped AS (
  SELECT book, map ->> %(pair)s::text AS mapped, route, count(*) AS accounts
  FROM follower GROUP BY 1, 2, 3
), found AS (
  SELECT route, accounts, {IS_LISTED_SQL.format(book="g.book", mapped="g.mapped")} AS lists
  FROM grouped g
), judged AS (
  SELECT accounts, lists FROM found WHERE route IS NULL
  UNION ALL
  SELECT 1, CASE WHEN bool_or(lists) THEN true WHEN bool_or(lists IS NULL) THEN NULL
    ELSE false END
  FROM found WHERE route IS NOT NULL GROUP BY route
)
SELECT coalesce(sum(accounts), 0)::int AS followers,
  coalesce(sum(accounts) FILTER (WHERE lists), 0)::int AS listing,
  coalesce(sum(accounts) FILTER (WHERE lists IS NULL), 0)::int AS unread
FROM judged
"""

# An account's symbol map counts only for symbols that its broker lists, and for less than a listed
# pair: any tenant may write any pair into it. Without a book nothing is known of an account. The
# first SELECT of `named` uses the index instrument_base.
COMPLETIONS = f"""
WITH {_FOLLOWERS}, named AS (
  SELECT i.pair, f.owner, f.subscription, true AS is_listed FROM connections_instrument i
  JOIN follower f ON f.book = i.book
  WHERE split_part(i.pair, '/', 1) = %(word)s::text AND i.is_preferred
    AND (f.map ->> i.pair IS NULL OR {_MAPPED.format(symbol="f.map ->> i.pair")})
  UNION ALL
  SELECT m.pair, f.owner, f.subscription, f.owner = %(feed_owner)s
  FROM follower f, LATERAL jsonb_each_text(f.map) m (pair, symbol)
  WHERE f.map <> '{{}}' AND starts_with(m.pair, %(word)s::text || '/')
    AND {_MAPPED.format(symbol="m.symbol")}
)
SELECT pair, count(DISTINCT owner) FILTER (WHERE is_listed)::int AS listing,
  count(DISTINCT owner)::int AS able, bool_or(owner = %(feed_owner)s) AS is_own,
  min(subscription)::bigint AS since
FROM named GROUP BY pair
"""

_NAMES = f"""
WITH {_FOLLOWERS}, books AS (
  SELECT book FROM follower WHERE book <> '' GROUP BY book ORDER BY count(*) DESC, book
  LIMIT {MAX_BOOKS}
)
SELECT pair FROM (
  SELECT i.pair FROM books b JOIN connections_instrument i ON i.book = b.book AND i.is_preferred
  UNION
  SELECT m.pair
  FROM (SELECT DISTINCT book, map FROM follower WHERE map <> '{{}}' LIMIT {MAX_BOOKS}) f,
    LATERAL jsonb_each_text(f.map) m (pair, symbol) WHERE {_MAPPED.format(symbol="m.symbol")}
) named ORDER BY pair LIMIT {MAX_NAMES}
"""


class InstrumentBooks:
    """Reads the books of all tenants' accounts. Returns only counts and canonical names."""

    def reach(self, feed: Feed, pair: str, only_owner: int | None) -> Reach:
        """Count the active followers of a feed and those that list a pair. One statement."""
        with for_all_tenants(savepoint=False):
            parameters = {**_parameters(feed, only_owner), "pair": pair}
            (counts,) = rows(_REACH, parameters, planned_once=True)
        return Reach(counts.followers, counts.listing, counts.unread)

    def completions(self, feed: Feed, word: str, only_owner: int | None) -> list[ListedPair]:
        """Return the pairs with the base currency `word` that followers can trade."""
        parameters = {**_parameters(feed, only_owner), "word": word, "feed_owner": feed.owner_id}
        with for_all_tenants():
            pairs = rows(COMPLETIONS, parameters)
        return [ListedPair(row.pair, row.listing, row.able, row.is_own, row.since) for row in pairs]

    def names(self, feed: Feed, only_owner: int | None) -> list[str]:
        """Return pairs of the most common books, at most `MAX_NAMES`, sorted."""
        with for_all_tenants():
            pairs = rows(_NAMES, _parameters(feed, only_owner))
        return [row.pair for row in pairs]


def _parameters(feed: Feed, only_owner: int | None) -> dict[str, Any]:
    return {
        "feed_id": feed.pk,
        "reaches_admins": feed.reaches_admins,
        "only_owner": only_owner,
    }
