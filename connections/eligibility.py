"""Which connections are candidates of a signal, and why one may not trade now: two pieces of SQL.

Fan-out writes the orders of thousands of candidates with one INSERT … SELECT. So eligibility is
decided in SQL, and only there: `ExecutionConnection.can_execute_trades()` uses the same expression.

Of several reasons the first in this order is returned:

0. the approval of the signal: `FEED_OWNER_ONLY`
1. the kill switch: `TRADING_HALTED` before `ENTRIES_HALTED`
2. decisions of the owner: `CONNECTION_INACTIVE`, `CONNECTION_PAUSED`, `SUBSCRIPTION_PAUSED`,
   `SUBSCRIPTION_EXPIRED`, `DIRECTION_EXCLUDED`
3. a pause that a loss limit caused: `LOSS_LIMIT`, `DRAWDOWN_LIMIT`, `REALIZED_LOSS_LIMIT`,
   `LOSING_STREAK`
4. missing parts: `NO_CREDENTIALS`, `NO_PRESET`, `NO_DATA_CONNECTION`; with a symbol also
   `SYMBOL_NOT_AT_BROKER`, if the account's broker does not list it, and on accounts of routes
   `SYMBOL_AMBIGUOUS`, if several of its symbols fit (elsewhere the claim denies the entry)
5. the health of the connection: `CONNECTION_TEST_PENDING` (a requested test must pass first) or, if
   no worker could run that test, `NO_SESSION_WORKER`; `CONNECTION_UNTESTED`; the code of its last
   error, such as `ACCOUNT_TRADING_DISABLED` (its broker pauses trading) or
   `ACCOUNT_ANSWER_UNUSABLE` (it is read again soon), or `CONNECTION_ERROR` (its broker refuses it);
   `CONNECTION_UNREACHABLE`, `CIRCUIT_OPEN`, `CONNECTION_NOT_RECONCILED`

Decisions of people come first because only people can change them; entries are then SKIPPED. For a
temporary reason (TEMPORARY_REASONS) entries wait, up to the maximum age of their signal. Of the
account that subscribes with a route only the decisions count that stop the whole route; the rest is
judged of each account when one is chosen (ROUTE_ACCOUNT_REASON_SQL). Under row-level security these
statements see only one tenant's rows: fan-out runs them inside `users.tenancy.for_all_tenants()`.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from brokers.registry import broker_types, capabilities_if_usable
from common.clocks import market_now
from common.db.sql import rows
from common.money import rounded_apart_sql
from common.reason_codes import Code
from connections.session_lanes import HANDOVER_SECONDS

# An IN over an uncorrelated query is hashed once per statement, not once per candidate. The first
# EXISTS is evaluated once: without a halt, a candidate costs none of the look-ups.
_HALTED = """EXISTS (SELECT FROM connections_killswitch k
            WHERE k.released_at IS NULL AND k.mode = '{mode}') AND (
    EXISTS (SELECT FROM connections_killswitch k
            WHERE k.released_at IS NULL AND k.mode = '{mode}'
              AND (k.scope = 'ALL' OR (k.scope = 'FEED' AND k.feed_id = %(feed_id)s::bigint)
                OR (k.scope = 'SYMBOL' AND k.pair = %(pair)s::text)))
    OR coalesce(c.user_id, c.admin_id) IN (
        SELECT k.user_id FROM connections_killswitch k
        WHERE k.released_at IS NULL AND k.mode = '{mode}' AND k.scope = 'USER')
    OR NOT {is_routed} AND (
      c.id IN (SELECT k.connection_id FROM connections_killswitch k
               WHERE k.released_at IS NULL AND k.mode = '{mode}' AND k.scope = 'CONNECTION')
      OR c.type IN (SELECT k.broker_type FROM connections_killswitch k
          WHERE k.released_at IS NULL AND k.mode = '{mode}' AND k.scope = 'BROKER_TYPE')
      OR s.symbol_map ->> %(pair)s::text IS NOT NULL AND {traded_pair} IN (
          SELECT k.pair FROM connections_killswitch k
          WHERE k.released_at IS NULL AND k.mode = '{mode}' AND k.scope = 'SYMBOL')))"""

TRADED_PAIR_SQL = """coalesce((SELECT i.pair FROM connections_instrument i
    WHERE i.book = c.instrument_book AND i.symbol = s.symbol_map ->> %(pair)s::text),
    %(pair)s::text)"""
"""The pair that a candidate trades for a signal. If its subscription maps the signal's pair to a
symbol of another pair, it is that pair, which then counts for sizing, monitoring and
reconciliation."""


def _halted(mode: str, is_routed: str) -> str:
    """Return the condition that a halt of this mode concerns a candidate."""
    return _HALTED.format(mode=mode, traded_pair=TRADED_PAIR_SQL, is_routed=is_routed)


_RECENTLY_HELD_LANES = f"""SELECT l.lane FROM connections_lanelease l
    WHERE l.until >= statement_timestamp() - interval '{HANDOVER_SECONDS} seconds'"""

# An account that did not answer is reported as unreachable instead: it is read until it answers.
# (Compare `selectors.is_test_pending`.)
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

# As for halts: the first EXISTS is evaluated once, each IN is hashed once.
_IS_PAUSED = """EXISTS (SELECT FROM connections_tradingpause p WHERE p.ended_at IS NULL) AND (
    NOT {is_routed} AND c.id IN (SELECT p.connection_id FROM connections_tradingpause p
             WHERE p.ended_at IS NULL AND p.subscription_id IS NULL)
    OR (s.id, c.id) IN (SELECT p.subscription_id, p.connection_id FROM connections_tradingpause p
                WHERE p.ended_at IS NULL AND p.subscription_id IS NOT NULL))"""
_OF_PAUSE = """(SELECT p.{column} FROM connections_tradingpause p
    WHERE p.connection_id = {connection_id} AND p.ended_at IS NULL
      AND (p.subscription_id IS NULL AND NOT {is_routed} OR p.subscription_id = {subscription_id})
    ORDER BY p.subscription_id NULLS FIRST, p.id LIMIT 1)"""

# Scalar subqueries: the planner must not hash all books that list the symbol.
IS_LISTED_SQL = """CASE
    WHEN {book} = '' THEN NULL
    WHEN {mapped} IS NOT NULL AND (SELECT i.symbol FROM connections_instrument i
      WHERE i.book = {book} AND i.symbol = {mapped} LIMIT 1) IS NOT NULL THEN true
    WHEN {mapped} IS NULL AND (SELECT i.symbol FROM connections_instrument i
      WHERE i.book = {book} AND i.pair = %(pair)s::text AND i.is_preferred LIMIT 1) IS NOT NULL
      THEN true
    WHEN (SELECT i.symbol FROM connections_instrument i WHERE i.book = {book} LIMIT 1) IS NOT NULL
      THEN false END"""
"""SQL: whether a book lists the parameter `pair`, or the symbol to which a subscription maps it.
NULL: the book has not been read."""

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
"""Reasons that end without a person's action: an entry waits, and is not skipped."""

_IS_LISTED = IS_LISTED_SQL.format(
    book="c.instrument_book", mapped="s.symbol_map ->> %(pair)s::text"
)

# Decisions about the subscription. Those about its account are in `reason_sql`.
_OF_SUBSCRIPTION = f"""
  WHEN s.is_paused THEN '{Code.SUBSCRIPTION_PAUSED.value}'
  WHEN s.expires_at <= %(market_now)s::timestamptz THEN '{Code.SUBSCRIPTION_EXPIRED.value}'
  WHEN s.directions <> 'BOTH' AND s.directions <> %(direction)s::text
    THEN '{Code.DIRECTION_EXCLUDED.value}'"""
_PREFERRED = """(SELECT {column} FROM connections_instrument i WHERE i.book = c.instrument_book
    AND i.pair = %(pair)s::text AND i.is_preferred
    AND s.symbol_map ->> %(pair)s::text IS NULL LIMIT 1)"""
_AMBIGUOUS = f"""
  WHEN {_PREFERRED.format(column="i.rivals")} <> '' THEN '{Code.SYMBOL_AMBIGUOUS.value}'"""
SYMBOLS_THAT_FIT_SQL = _PREFERRED.format(
    column="CASE WHEN i.rivals <> '' THEN i.symbol || ', ' || i.rivals END"
)
"""The names of several symbols that fit a pair equally well on the account `c`; else NULL."""


def reason_sql(
    *, is_routed: str = "false", of_subscription: str = _OF_SUBSCRIPTION, ambiguous: str = ""
) -> str:
    """Return SQL of why a candidate may not trade now: see REASON_SQL.

    is_routed: an expression of whether accounts of a route may take the signal instead. Of such a
    candidate only the reasons count that stop the whole route.
    """
    pause_code = _OF_PAUSE.format(
        column="code", connection_id="c.id", subscription_id="s.id", is_routed=is_routed
    )
    return f"""CASE
  WHEN coalesce(c.user_id, c.admin_id) <> %(only_owner)s::bigint
    THEN '{Code.FEED_OWNER_ONLY.value}'
  WHEN {_halted("HALTED", is_routed)} THEN '{Code.TRADING_HALTED.value}'
  WHEN {_halted("REDUCING", is_routed)} THEN '{Code.ENTRIES_HALTED.value}'
  WHEN NOT c.is_active OR c.archived_at IS NOT NULL THEN '{Code.CONNECTION_INACTIVE.value}'
  WHEN c.is_paused THEN '{Code.CONNECTION_PAUSED.value}'{of_subscription}
  WHEN {_IS_PAUSED.format(is_routed=is_routed)} THEN {pause_code}
  WHEN {is_routed} THEN NULL
  WHEN c.sealed_credentials IS NULL AND c.type = ANY(%(types_with_credentials)s::text[])
    THEN '{Code.NO_CREDENTIALS.value}'
  WHEN c.preset_id IS NULL THEN '{Code.NO_PRESET.value}'
  WHEN c.data_connection_id IS NULL THEN '{Code.NO_DATA_CONNECTION.value}'
  WHEN %(pair)s::text IS NOT NULL AND NOT {_IS_LISTED}
    THEN '{Code.SYMBOL_NOT_AT_BROKER.value}'{ambiguous}
  WHEN {_TEST_IS_PENDING} AND c.lane <> '' AND c.lane NOT IN ({_RECENTLY_HELD_LANES})
    THEN '{Code.NO_SESSION_WORKER.value}'
{_HEALTH_REASON_SQL}
END"""


REASON_SQL = reason_sql()
"""Why a candidate may not trade now; NULL: it may. With a code of TEMPORARY_REASONS its entry
waits, with any other it is skipped. Aliases: c (connection), h (its health, may be absent) and s
(its subscription; absent for an admin-owned connection without one)."""

ROUTE_ACCOUNT_REASON_SQL = reason_sql(of_subscription="", ambiguous=_AMBIGUOUS)
"""Why an account of a route may not take an entry now; NULL: it may. What its subscription allows
was decided when the signal was published."""
SUBSCRIPTION_REASON_SQL = f"CASE{_OF_SUBSCRIPTION} END"
"""Why a subscription `s` takes no signal now; NULL: it may."""

PAUSE_REASONS = (
    Code.LOSS_LIMIT,
    Code.DRAWDOWN_LIMIT,
    Code.REALIZED_LOSS_LIMIT,
    Code.LOSING_STREAK,
)
"""The codes of pauses that loss limits cause."""


def pause_detail_sql(connection_id: str, subscription_id: str, *, is_routed: str) -> str:
    """Return SQL of the limit, value and maximum of the pause that `reason_sql` has the code of."""
    return _OF_PAUSE.format(
        column="detail",
        connection_id=connection_id,
        subscription_id=subscription_id,
        is_routed=is_routed,
    )


def pause_numbers_sql(order: str) -> str:
    """Return SQL of the figures of the pause that an order was skipped for.

    order: the alias of a row with the pause's code as `reason`, its `detail` and `connection_id`.
    """
    return f"""coalesce((SELECT jsonb_build_object('name', p.name,
      'value', trim_scale({rounded_apart_sql("p.value", "p.maximum")})::text,
      'maximum', trim_scale(p.maximum)::text, 'unit', CASE p.unit WHEN 'PERCENT' THEN '%%'
        WHEN 'TRADES' THEN 'trades' ELSE coalesce((SELECT a.currency
          FROM connections_accountsnapshot a WHERE a.connection_id = p.connection_id), '') END)
    FROM connections_tradingpause p
    WHERE p.connection_id = {order}.connection_id AND p.ended_at IS NULL
      AND p.code = {order}.reason AND p.detail = {order}.detail LIMIT 1), jsonb_build_object())"""


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
"""The FROM clause for an OPEN signal: every candidate once, with c, h and s joined.

A UNION, because an OR over both sorts of candidates would read all connections for each signal."""

_REASON_OF_ONE_SQL = f"""
SELECT {REASON_SQL} AS reason
FROM connections_executionconnection c
LEFT JOIN connections_connectionhealth h ON h.connection_id = c.id
LEFT JOIN connections_subscription s
  ON s.connection_id = c.id AND s.feed_id = %(feed_id)s::bigint AND s.archived_at IS NULL
WHERE c.id = %(connection_id)s
"""


_HEALTH_REASONS_SQL = f"""
SELECT connection_id::text, reason FROM (
  SELECT h.connection_id, CASE {_HEALTH_REASON_SQL} END AS reason
  FROM connections_connectionhealth h WHERE h.connection_id = ANY(%s::uuid[])
) state WHERE reason IS NOT NULL
"""


def health_reasons(connection_ids: Collection[str]) -> dict[str, Code]:
    """Return why the health of connections prevents entries now, by connection id.

    Healthy connections are left out. Not all of these reasons are temporary (TEMPORARY_REASONS).
    """
    if not connection_ids:
        return {}
    reasons = rows(_HEALTH_REASONS_SQL, (list(connection_ids),), planned_once=True)
    return {row.connection_id: Code[row.reason] for row in reasons}


def eligibility_parameters(
    *,
    feed_id: int | None,
    direction: str | None,
    pair: str | None = None,
    at: datetime | None = None,
    reaches_admins: bool = True,
    only_owner: int | None = None,
) -> Mapping[str, Any]:
    """Return the parameters of REASON_SQL, CANDIDATES_SQL and TRADED_PAIR_SQL.

    at: market time; default: now.
    pair: the signal's symbol; None: do not check whether it is listed.
    reaches_admins: whether admin-owned connections are candidates without a subscription.
    only_owner: the feed's owner, if the approval covers only that user's connections.
    """
    return {
        "feed_id": feed_id,
        "direction": direction,
        "pair": pair,
        "market_now": at or market_now(),
        "types_with_credentials": list(broker_types_with_credentials()),
        "temporary_reasons": [code.value for code in TEMPORARY_REASONS],
        "reaches_admins": reaches_admins,
        "only_owner": only_owner,
    }


def reason_for(
    *, connection_id: UUID, feed_id: int | None = None, direction: str | None = None
) -> Code | None:
    """Return why this connection may not trade now; None if it may.

    Without a feed, reasons of a subscription and of a feed's kill switch are left out. A connection
    that does not exist, or that the caller may not see, is CONNECTION_INACTIVE.
    """
    reasons = rows(
        _REASON_OF_ONE_SQL,
        {
            **eligibility_parameters(feed_id=feed_id, direction=direction),
            "connection_id": connection_id,
        },
    )
    if not reasons:
        return Code.CONNECTION_INACTIVE
    return Code[reasons[0].reason] if reasons[0].reason else None


def broker_types_with_credentials() -> tuple[str, ...]:
    """Return the broker types that cannot trade without stored credentials."""
    return tuple(broker_type for broker_type in broker_types() if needs_credentials(broker_type))


@cache
def needs_credentials(broker_type: str) -> bool:
    """Return whether a broker type needs credentials.

    True also if this process cannot use the type: a worker may, and then credentials may be needed.
    """
    capabilities = capabilities_if_usable(broker_type, with_library=False)
    return capabilities is None or capabilities.needs_credentials
