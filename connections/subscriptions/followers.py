"""A feed's followers in numbers, for its provider: never a name, nor what one of them has."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from common.clocks import market_now
from common.db.sql import Query, array, rows
from connections.joins import OWNER_ID_SQL, not_twin_sql
from signals.publishing.preview import FEW
from users.tenancy import for_all_tenants

_SUBSCRIPTIONS = f"""
SELECT {OWNER_ID_SQL} AS owner_id, c.type, b.archived_at, b.archived_at IS NULL AS is_live,
  b.archived_at IS NULL AND NOT b.is_paused AND NOT c.is_paused AND c.is_active
    AND coalesce(b.expires_at > %(now)s, true) AS is_active,
  (SELECT min(i.started_at) FROM connections_subscriptioninterval i
   WHERE i.subscription_id = b.id) AS first_at
FROM connections_subscription b JOIN connections_executionconnection c ON c.id = b.connection_id
WHERE b.feed_id = %(feed)s AND {not_twin_sql("c.id")}
"""


class _Totals(NamedTuple):
    followers: int
    active: int
    new: int
    ended: int
    ended_this_month: int
    accounts: int
    active_accounts: int


class _Kind(NamedTuple):
    broker_type: str
    accounts: int
    followers: int


TOTALS = Query(
    _Totals,
    f"""
WITH subs AS ({_SUBSCRIPTIONS}), owners AS (
  SELECT bool_or(is_live) AS is_live, bool_or(is_active) AS is_active, min(first_at) AS first_at,
    max(archived_at) AS ended_at, count(*) FILTER (WHERE is_live) AS accounts,
    count(*) FILTER (WHERE is_active) AS active_accounts
  FROM subs GROUP BY owner_id)
SELECT count(*) FILTER (WHERE is_live) AS followers, count(*) FILTER (WHERE is_active) AS active,
  count(*) FILTER (WHERE is_live AND first_at >= %(month)s) AS new,
  count(*) FILTER (WHERE NOT is_live) AS ended,
  count(*) FILTER (WHERE NOT is_live AND ended_at >= %(month)s) AS ended_this_month,
  coalesce(sum(accounts), 0)::bigint AS accounts,
  coalesce(sum(active_accounts), 0)::bigint AS active_accounts
FROM owners
""",
)
KINDS = Query(
    _Kind,
    f"""
WITH subs AS ({_SUBSCRIPTIONS})
SELECT type AS broker_type, count(*) AS accounts, count(DISTINCT owner_id) AS followers
FROM subs WHERE is_live GROUP BY type ORDER BY accounts DESC, type
""",
)
OWNERS = f"""
SELECT count(DISTINCT {OWNER_ID_SQL}) AS owners,
  count(DISTINCT {OWNER_ID_SQL}) FILTER (WHERE {OWNER_ID_SQL} <> %s) AS others
FROM connections_executionconnection c WHERE c.id = ANY(%s::uuid[])
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """How many accounts of a broker type follow. broker_type: '' for all that FEW do not have."""

    broker_type: str
    accounts: int


@dataclass(frozen=True, slots=True)
class Followers:
    """The followers of a feed at `as_of` (market time): users with an account that takes it.

    followers = active + paused. paused: all their accounts of it are paused, switched off or past
    their end. new: since the month began (UTC). ended: followers that have left. The owner's own
    accounts are among them. kinds: accounts by broker type, those of FEW followers or more by name.
    """

    as_of: datetime
    followers: int
    active: int
    new: int
    ended: int
    ended_this_month: int
    accounts: int
    active_accounts: int
    kinds: tuple[Kind, ...]

    @property
    def paused(self) -> int:
        """Followers of whom no account takes signals now."""
        return self.followers - self.active

    @property
    def paused_accounts(self) -> int:
        """Accounts that take no signals now."""
        return self.accounts - self.active_accounts


def followers_of(feed_id: int) -> Followers:
    """Return a feed's followers in numbers. Reads all tenants' rows: check the user's rights."""
    now = market_now()
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    values = {"feed": feed_id, "now": now, "month": month}
    with transaction.atomic(), for_all_tenants():
        [totals] = rows(TOTALS, values)
        kinds = rows(KINDS, values)
    named = [Kind(kind.broker_type, kind.accounts) for kind in kinds if kind.followers >= FEW]
    others = sum(kind.accounts for kind in kinds if kind.followers < FEW)
    if others:
        named.append(Kind("", others))
    return Followers(now, **totals._asdict(), kinds=tuple(named))


def owner_counts(connection_ids: Collection[UUID], *, beside: int) -> tuple[int, int]:
    """Return how many users own these connections, and how many of them are not the one beside."""
    if not connection_ids:
        return 0, 0
    [found] = rows(OWNERS, (beside, array(connection_ids)))
    return int(found.owners), int(found.others)
