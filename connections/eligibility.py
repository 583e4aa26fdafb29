"""Who is a candidate of a feed's signal, and why one may not trade now: two pieces of SQL.

Fan-out writes the orders of thousands of candidates by one INSERT … SELECT, so the question is
asked in SQL, and only there: `ExecutionConnection.can_execute_trades()` asks the same expression.

The reasons stand in this order; the first that applies is told:

0. whose approval the signal has: `FEED_OWNER_ONLY`
1. what was decided from above: the kill switch, `TRADING_HALTED` before `ENTRIES_HALTED`
2. what the owner decided: `CONNECTION_INACTIVE`, `CONNECTION_PAUSED`, `SUBSCRIPTION_PAUSED`,
   `SUBSCRIPTION_EXPIRED`, `DIRECTION_EXCLUDED`
3. what is missing: `NO_CREDENTIALS`, `NO_PRESET`, `NO_DATA_CONNECTION`; where a symbol is asked
   about, that the account's broker does not list it: `SYMBOL_NOT_AT_BROKER`
4. how the connection fares: `CONNECTION_UNTESTED`, `CONNECTION_ERROR` (its broker refuses it),
   and what passes by itself: `CONNECTION_TEST_PENDING` (a test is requested, and none trades before
   it has passed) or, where no worker could make it, `NO_SESSION_WORKER`,
   `ACCOUNT_TRADING_DISABLED` (its
   broker pauses trading), `ACCOUNT_ANSWER_UNUSABLE` (it is read again soon),
   `CONNECTION_UNREACHABLE`, `CIRCUIT_OPEN`, `CONNECTION_NOT_RECONCILED`

A person's decision comes first because only a person can change it, and its entries are SKIPPED.
What passes by itself (PASSES) only has them wait, within the age that their signal may have.
Whoever runs this under row-level security sees a tenant's rows only: fan-out runs it inside
`users.tenancy.for_all_tenants()`.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from brokers.registry import broker_types, capabilities_of
from brokers.types import ConnectionSpec
from common.clocks import market_now
from common.errors import MisconfiguredError
from common.reason_codes import Code
from common.sql import rows
from connections.session_lanes import HANDOVER_SECONDS

# An IN over an uncorrelated query is hashed once a statement, not once a candidate.
_HALTED = """(
    EXISTS (SELECT FROM connections_killswitch k
            WHERE k.released_at IS NULL AND k.mode = '{mode}'
              AND (k.scope = 'ALL' OR (k.scope = 'FEED' AND k.feed_id = %(feed_id)s::bigint)))
    OR c.id IN (SELECT k.connection_id FROM connections_killswitch k
                WHERE k.released_at IS NULL AND k.mode = '{mode}' AND k.scope = 'CONNECTION')
    OR coalesce(c.user_id, c.admin_id) IN (
        SELECT k.user_id FROM connections_killswitch k
        WHERE k.released_at IS NULL AND k.mode = '{mode}' AND k.scope = 'USER'))"""

_RECENTLY_HELD_LANES = f"""SELECT l.lane FROM connections_lanelease l
    WHERE l.until >= statement_timestamp() - interval '{HANDOVER_SECONDS} seconds'"""

# Of an account that did not answer, that is told: it is read until it does. (As `test_waits`.)
_TEST_IS_PENDING = """h.status <> 'ACTIVE' AND (h.status = 'UNTESTED' OR h.unreachable_at IS NULL)
    AND h.test_requested_at > coalesce(h.last_tested_at, '-infinity')"""

_HEALTH_REASON_SQL = f"""
  WHEN {_TEST_IS_PENDING} THEN '{Code.CONNECTION_TEST_PENDING.value}'
  WHEN h.status IS NULL OR h.status = 'UNTESTED' THEN '{Code.CONNECTION_UNTESTED.value}'
  WHEN h.status <> 'ACTIVE' AND h.unreachable_at IS NULL THEN CASE h.error_code
    WHEN '' THEN '{Code.CONNECTION_ERROR.value}' ELSE h.error_code END
  WHEN h.status <> 'ACTIVE' THEN '{Code.CONNECTION_UNREACHABLE.value}'
  WHEN h.circuit_open_until > clock_timestamp() THEN '{Code.CIRCUIT_OPEN.value}'
  WHEN h.reconciled_at IS NULL THEN '{Code.CONNECTION_NOT_RECONCILED.value}'"""

# Scalar subqueries: never made into a hash of all books that have the symbol.
IS_LISTED_SQL = """CASE
    WHEN {book} = '' THEN NULL
    WHEN {mapped} IS NOT NULL AND (SELECT i.symbol FROM connections_instrument i
      WHERE i.book = {book} AND i.symbol = {mapped} LIMIT 1) IS NOT NULL THEN true
    WHEN {mapped} IS NULL AND (SELECT i.symbol FROM connections_instrument i
      WHERE i.book = {book} AND i.pair = %(pair)s::text AND i.is_preferred LIMIT 1) IS NOT NULL
      THEN true
    WHEN (SELECT i.symbol FROM connections_instrument i WHERE i.book = {book} LIMIT 1) IS NOT NULL
      THEN false END"""
"""SQL: whether a list of instruments has the parameter `pair`, by the name that a subscription's
map gives it, if it does. NULL: the list has not been read."""

TEMPORARY_REASONS = frozenset(
    {
        Code.CONNECTION_TEST_PENDING,
        Code.NO_SESSION_WORKER,
        Code.ACCOUNT_TRADING_DISABLED,
        Code.ACCOUNT_ANSWER_UNUSABLE,
        Code.CONNECTION_UNREACHABLE,
        Code.CIRCUIT_OPEN,
        Code.CONNECTION_NOT_RECONCILED,
    }
)
"""What passes by itself: an entry waits for it, and is not skipped."""

_IS_LISTED = IS_LISTED_SQL.format(
    book="c.instrument_book", mapped="s.symbol_map ->> %(pair)s::text"
)

REASON_SQL = f"""CASE
  WHEN coalesce(c.user_id, c.admin_id) <> %(only_owner)s::bigint
    THEN '{Code.FEED_OWNER_ONLY.value}'
  WHEN {_HALTED.format(mode="HALTED")} THEN '{Code.TRADING_HALTED.value}'
  WHEN {_HALTED.format(mode="REDUCING")} THEN '{Code.ENTRIES_HALTED.value}'
  WHEN NOT c.is_active OR c.archived_at IS NOT NULL THEN '{Code.CONNECTION_INACTIVE.value}'
  WHEN c.is_paused THEN '{Code.CONNECTION_PAUSED.value}'
  WHEN s.is_paused THEN '{Code.SUBSCRIPTION_PAUSED.value}'
  WHEN s.expires_at <= %(market_now)s::timestamptz THEN '{Code.SUBSCRIPTION_EXPIRED.value}'
  WHEN s.directions <> 'BOTH' AND s.directions <> %(direction)s::text
    THEN '{Code.DIRECTION_EXCLUDED.value}'
  WHEN c.sealed_credentials IS NULL AND c.type = ANY(%(kinds_with_credentials)s::text[])
    THEN '{Code.NO_CREDENTIALS.value}'
  WHEN c.preset_id IS NULL THEN '{Code.NO_PRESET.value}'
  WHEN c.data_connection_id IS NULL THEN '{Code.NO_DATA_CONNECTION.value}'
  WHEN %(pair)s::text IS NOT NULL AND NOT {_IS_LISTED} THEN '{Code.SYMBOL_NOT_AT_BROKER.value}'
  WHEN {_TEST_IS_PENDING} AND c.lane <> '' AND c.lane NOT IN ({_RECENTLY_HELD_LANES})
    THEN '{Code.NO_SESSION_WORKER.value}'
{_HEALTH_REASON_SQL}
END"""
"""Why one candidate may not trade now, or NULL: it may. A code of PASSES has its entry wait, every
other one is what it is skipped for. Over the aliases c (connection), h (its
health, may be absent) and s (its subscription; absent for an admin-owned one without)."""

TRADED_PAIR_SQL = """coalesce((SELECT i.pair FROM connections_instrument i
    WHERE i.book = c.instrument_book AND i.symbol = s.symbol_map ->> %(pair)s::text),
    %(pair)s::text)"""
"""Which pair one candidate trades for a signal: where its subscription maps the symbol to another
one of its broker's, that one's, by whose prices it is sized, watched and compared."""

CANDIDATES_SQL = """(
    SELECT sub.connection_id, sub.id AS subscription_id
    FROM connections_subscription sub
    WHERE sub.feed_id = %(feed_id)s::bigint AND sub.archived_at IS NULL
    UNION ALL
    SELECT own.id, NULL::bigint
    FROM connections_executionconnection own
    WHERE %(reaches_admins)s AND own.admin_id IS NOT NULL AND own.archived_at IS NULL
      AND NOT EXISTS (SELECT FROM connections_subscription sub
        WHERE sub.connection_id = own.id AND sub.feed_id = %(feed_id)s::bigint
          AND sub.archived_at IS NULL)
  ) candidate
  JOIN connections_executionconnection c ON c.id = candidate.connection_id
  LEFT JOIN connections_connectionhealth h ON h.connection_id = c.id
  LEFT JOIN connections_subscription s ON s.id = candidate.subscription_id"""
"""What stands behind FROM for an OPEN signal: every candidate once, with c, h and s joined.

A UNION, because an OR over both kinds would read every connection there is for each signal."""

_REASON_OF_ONE_SQL = f"""
SELECT {REASON_SQL} AS reason
FROM connections_executionconnection c
LEFT JOIN connections_connectionhealth h ON h.connection_id = c.id
LEFT JOIN connections_subscription s
  ON s.connection_id = c.id AND s.feed_id = %(feed_id)s::bigint AND s.archived_at IS NULL
WHERE c.id = %(connection_id)s
"""


_TEMPORARY_REASONS_SQL = f"""
SELECT connection_id::text, reason FROM (
  SELECT h.connection_id, CASE {_HEALTH_REASON_SQL} END AS reason
  FROM connections_connectionhealth h WHERE h.connection_id = ANY(%s::uuid[])
) state WHERE reason IS NOT NULL
"""


def temporary_reasons(connection_ids: Collection[str]) -> dict[str, Code]:
    """Return what entries of these connections wait for, of those that do not fare well now."""
    if not connection_ids:
        return {}
    found = rows(_TEMPORARY_REASONS_SQL, (list(connection_ids),))
    return {row.connection_id: Code[row.reason] for row in found}


def eligibility_parameters(
    *,
    feed_id: int | None,
    direction: str | None,
    pair: str | None = None,
    at: datetime | None = None,
    reaches_admins: bool = True,
    only_owner: int | None = None,
) -> Mapping[str, Any]:
    """Return what REASON_SQL and CANDIDATES_SQL need; at: market time, now unless given.

    pair: the signal's symbol; None: whether it is listed is not asked.
    reaches_admins: whether admin-owned connections are candidates without a subscription.
    only_owner: the feed's owner, where the approval covers that user's connections only.
    """
    return {
        "feed_id": feed_id,
        "direction": direction,
        "pair": pair,
        "market_now": at or market_now(),
        "kinds_with_credentials": list(broker_types_with_credentials()),
        "passes": [code.value for code in TEMPORARY_REASONS],
        "reaches_admins": reaches_admins,
        "only_owner": only_owner,
    }


def reason_for(
    *, connection_id: UUID, feed_id: int | None = None, direction: str | None = None
) -> Code | None:
    """Return why this connection would be skipped now, or None: it may trade.

    Without a feed, what concerns a subscription or a feed's kill switch is left out. A connection
    that is not there (or not the caller's) is CONNECTION_INACTIVE.
    """
    found = rows(
        _REASON_OF_ONE_SQL,
        {
            **eligibility_parameters(feed_id=feed_id, direction=direction),
            "connection_id": connection_id,
        },
    )
    if not found:
        return Code.CONNECTION_INACTIVE
    return Code[found[0].reason] if found[0].reason else None


def broker_types_with_credentials() -> tuple[str, ...]:
    """Return the broker kinds that cannot trade without stored credentials."""
    return tuple(broker_type for broker_type in broker_types() if needs_credentials(broker_type))


@cache
def needs_credentials(broker_type: str) -> bool:
    """Whether accounts of a kind need credentials. A kind that does not say so without a library
    that is not installed here is believed to: a worker that has it would refuse to go without."""
    try:
        capabilities = capabilities_of(broker_type, ConnectionSpec(connection_id="", account=""))
    except (ImportError, MisconfiguredError):
        return True
    return capabilities.needs_credentials
