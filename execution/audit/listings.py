"""Listings of broker accounts for the audit: requested by audits, read by trading processes.

An audit may run in a process without broker sessions. It writes requests; the process that holds an
account's lane reads the account's orders, executions and positions, and stores them. An account is
read at most once in FRESH_SECONDS, through the adapter and so within the broker's rate limit. An
account that could not be read in time is not judged, and the audit states why.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from time import monotonic, sleep
from typing import Any, NamedTuple
from uuid import UUID

import structlog
from django.conf import settings

from brokers.base import BrokerError, ReadFailed
from brokers.broker_books import AcceptedOrder, BookPosition
from brokers.order_listing import ListedOrder, listed_orders
from brokers.registry import adapter_for
from brokers.types import BrokerPosition, Side
from common.clocks import market_now
from common.db.sql import Query, array, columns, periodic_rows, rows, run
from common.operational.current import settings_now
from common.reason_codes import Code
from connections.exposure import is_monitored_sql, is_open_sql
from connections.selectors import (
    CONNECTIONS_WITH_HEALTH_SQL,
    HEALTH_JOIN_SQL,
    HOST_IS_DOWN_SQL,
    HOST_IS_UP_SQL,
    SPEC_COLUMNS,
    AccountRow,
    connection_join_sql,
    spec_from_row,
)
from connections.session_lanes import IN_HELD_LANES_SQL, held_lanes_parameters
from events.models import EventKind
from events.services import emit
from execution.runtime import broker_queries

log = structlog.get_logger(__name__)

COVERS = timedelta(days=1)  # how far back executions are listed, where the broker keeps them
FRESH_SECONDS = 30  # a newer listing is not read again
VALID_SECONDS = 600  # an older listing proves nothing; an older request is not served
WAIT_SECONDS = 20.0
READS = 3  # an account's positions, its working orders and its executions
BATCH_SIZE = 200
NAMED_ACCOUNTS = 20  # in one message; the dashboard has all of them


@dataclass(frozen=True, slots=True)
class DueListing(AccountRow):
    """An account whose listing was requested. began: machine time of the claim."""

    began: datetime


class StoredListing(NamedTuple):
    """An audited account with its stored listing, None without one.

    orders: [client order id, broker's id, executed quantity]; positions: [broker's id, side,
    quantity, client order id].
    """

    connection_id: UUID
    name: str
    status: str
    last_error: str
    began_at: datetime | None
    executed_since: datetime | None
    orders: list[list[str]] | None
    positions: list[list[str]] | None
    reason: str
    detail: str
    is_valid: bool
    has_failed: bool
    is_host_down: bool
    has_no_worker: bool


class ConnectionRow(NamedTuple):
    """A connection whose account will be listed."""

    connection_id: UUID


class WaitingCount(NamedTuple):
    """How many listings are still requested."""

    number: int


class ReportedAccount(NamedTuple):
    """A connection that was reported as not judged."""

    connection: str


# Accounts to judge, of brokers without books: monitored, with open trades, or recently used.
_AUDITED = f"""
FROM {CONNECTIONS_WITH_HEALTH_SQL}
WHERE c.archived_at IS NULL AND c.type <> ALL(%(with_books)s::text[])
  AND (h.status = 'ACTIVE' AND {{monitored}} OR {{open}}
    OR h.last_used_at > clock_timestamp() - interval '1 day')
"""

REQUEST = """
INSERT INTO execution_brokerlisting AS l (connection_id, requested_at)
SELECT c.id, clock_timestamp() {audited} ORDER BY c.id
ON CONFLICT (connection_id) DO UPDATE SET requested_at = EXCLUDED.requested_at
WHERE l.began_at IS NULL OR l.began_at < clock_timestamp() - make_interval(secs => %(fresh)s)
RETURNING connection_id
"""

WAITING = Query(
    WaitingCount,
    """
SELECT count(*) AS number FROM execution_brokerlisting
WHERE requested_at IS NOT NULL AND connection_id = ANY(%s::uuid[])
""",
)

# A claim keeps other processes from reading the account, until it ends: this process may die.
DUE = Query(
    DueListing,
    f"""
WITH due AS (
  SELECT l.connection_id FROM execution_brokerlisting l
  {connection_join_sql("l.connection_id")}
  WHERE l.requested_at > clock_timestamp() - make_interval(secs => %(valid)s) AND
    {IN_HELD_LANES_SQL}
    AND (l.claimed_until IS NULL OR l.claimed_until < clock_timestamp())
    AND {HOST_IS_UP_SQL}
  ORDER BY l.requested_at, l.connection_id LIMIT %(limit)s FOR NO KEY UPDATE OF l SKIP LOCKED
), claimed AS (
  UPDATE execution_brokerlisting l
  SET claimed_until = clock_timestamp() + make_interval(secs => %(lease)s)
  FROM due WHERE l.connection_id = due.connection_id RETURNING l.connection_id
)
SELECT t.connection_id, {SPEC_COLUMNS}, c.broker_host, statement_timestamp() AS began
FROM claimed t {connection_join_sql("t.connection_id")}
""",
)

STORE = """
UPDATE execution_brokerlisting l SET claimed_until = NULL, began_at = t.began,
  executed_since = t.since, orders = t.orders, positions = t.positions, reason = '', detail = '',
  requested_at = CASE WHEN l.requested_at > t.began THEN l.requested_at END
FROM unnest(%s::uuid[], %s::timestamptz[], %s::timestamptz[], %s::jsonb[], %s::jsonb[])
  AS t(connection_id, began, since, orders, positions)
WHERE l.connection_id = t.connection_id
"""

FAILED = """
UPDATE execution_brokerlisting l SET claimed_until = NULL, failed_at = clock_timestamp(),
  requested_at = CASE WHEN l.requested_at > t.began THEN l.requested_at END,
  reason = t.reason, detail = t.detail
FROM unnest(%s::uuid[], %s::timestamptz[], %s::text[], %s::text[])
  AS t(connection_id, began, reason, detail)
WHERE l.connection_id = t.connection_id
"""

STORED = f"""
SELECT c.id AS connection_id, c.name, h.status, h.last_error,
  l.began_at, l.executed_since, l.orders, l.positions, coalesce(l.reason, '') AS reason,
  coalesce(l.detail, '') AS detail,
  coalesce(l.began_at > clock_timestamp() - make_interval(secs => %(valid)s), false) AS is_valid,
  coalesce(l.failed_at > clock_timestamp() - make_interval(secs => %(valid)s), false) AS has_failed,
  {HOST_IS_DOWN_SQL}
    AS is_host_down,
  c.lane <> '' AND NOT EXISTS (SELECT FROM connections_lanelease k
    WHERE k.lane = c.lane AND k.until > clock_timestamp()) AS has_no_worker
FROM connections_executionconnection c
LEFT JOIN execution_brokerlisting l ON l.connection_id = c.id
{HEALTH_JOIN_SQL}
WHERE c.id IN (SELECT c.id {{audited}}) AND (%(signal)s::bigint IS NULL OR EXISTS (
  SELECT FROM execution_order o WHERE o.signal_id = %(signal)s::bigint AND o.connection_id = c.id)
  OR EXISTS (SELECT FROM execution_archivedorder a
    WHERE a.signal_id = %(signal)s::bigint AND a.connection_id = c.id))
ORDER BY c.name, c.id
"""


@dataclass(frozen=True, slots=True)
class NotJudged:
    """An account whose broker's list was not available to the audit. detail: a sentence."""

    connection: str
    name: str
    reason: Code
    detail: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What a broker listed of one account.

    began: machine time; rows with activity since are not judged. executed_since: start of the
    executions listed.
    """

    connection_id: UUID
    began: datetime
    executed_since: datetime
    accepted: list[AcceptedOrder]
    positions: list[BookPosition]


# ---- requested ---------------------------------------------------------------------------------
def request(with_books: Collection[str]) -> list[UUID]:
    """Request a listing of every account that the audit judges; return those that will be read.

    with_books: broker types whose books the audit reads instead. An account with a fresh listing is
    not read again.
    """
    parameters = {"with_books": array(with_books), "fresh": FRESH_SECONDS}
    statement = Query(ConnectionRow, _with_audited(REQUEST))
    return [row.connection_id for row in rows(statement, parameters)]


def wait_for(connection_ids: Sequence[UUID], seconds: float = WAIT_SECONDS) -> bool:
    """Wait until each read has succeeded or failed; return False after `seconds`."""
    deadline = monotonic() + seconds
    while rows(WAITING, (array(connection_ids),))[0].number:
        if monotonic() > deadline:
            return False
        sleep(0.1)
    return True


def _with_audited(sql: str) -> str:
    audited = _AUDITED.format(monitored=is_monitored_sql(), open=is_open_sql("c.id"))
    return sql.format(audited=audited)


# ---- read by the process that holds the lane ----------------------------------------------------
def read_requested() -> int:
    """Read the requested accounts of this process's lanes; return how many."""
    parts = READS * float(settings_now().execution.call_timeout_seconds)
    limits = {"valid": VALID_SECONDS, "limit": BATCH_SIZE, "lease": 2 * parts}
    due = periodic_rows(DUE, {**limits, **held_lanes_parameters()})
    if not due:
        return 0
    calls = broker_queries.call_runner(requests_per_call=READS)
    calls.start([(row, partial(_read, row)) for row in due])
    left = {row.connection_id: row for row in due}
    for group in calls.groups():
        _store(group)
        for row, _ in group:
            left.pop(row.connection_id, None)
    _store([(row, TimeoutError()) for row in left.values()])
    return len(due)


@dataclass(frozen=True, slots=True)
class _Reading:
    since: datetime
    orders: list[ListedOrder]
    positions: list[BrokerPosition]


async def _read(row: DueListing) -> _Reading:
    """Read one account. Raises ReadFailed NOT_SUPPORTED if the broker cannot list orders."""
    adapter, spec = adapter_for(row.type), spec_from_row(row)
    horizon = adapter.capabilities(spec).fills_horizon
    if horizon is None:
        raise ReadFailed(Code.NOT_SUPPORTED, "orders and executions cannot be listed")
    since = market_now() - min(COVERS, horizon)
    orders = await listed_orders(adapter, spec, since)
    positions = await broker_queries.with_call_timeout(adapter.positions(spec))
    if hidden := [one for one in positions if not one.is_readable]:
        detail = f"{len(hidden)} positions cannot be read, of {hidden[0].symbol or 'any symbol'}"
        raise ReadFailed(Code.BROKER_UNREACHABLE, detail)
    return _Reading(since, orders, positions)


def _store(group: Sequence[tuple[DueListing, _Reading | Exception]]) -> None:
    read, failed = [], []
    for row, answer in group:
        if isinstance(answer, _Reading):
            orders, positions = _orders_json(answer.orders), _positions_json(answer.positions)
            read.append((row.connection_id, row.began, answer.since, orders, positions))
        else:
            reason, detail = _failure(answer)
            log.info("an account could not be listed", connection=str(row.connection_id),
                     reason=reason, detail=detail)  # fmt: skip
            failed.append((row.connection_id, row.began, reason, detail))
    if read:
        run(STORE, columns(read, 5))
    if failed:
        run(FAILED, columns(failed, 4))


def _failure(answer: Exception) -> tuple[str, str]:
    if isinstance(answer, BrokerError):
        return answer.code.value, answer.detail[:300]
    return Code.BROKER_UNREACHABLE.value, type(answer).__name__


def _orders_json(orders: Sequence[ListedOrder]) -> str:
    """Return our orders as JSON; the audit ignores orders that others placed."""
    ours = [order for order in orders if _is_ours(order.client_order_id)]
    return json.dumps(
        [[order.client_order_id, order.broker_order_id, str(order.executed)] for order in ours]
    )


def _positions_json(positions: Sequence[BrokerPosition]) -> str:
    listed = [
        [
            position.broker_position_id,
            position.side.value,
            str(position.quantity),
            position.client_order_id,
        ]
        for position in positions
        if position.quantity
    ]
    return json.dumps(listed)


def _is_ours(client_order_id: str) -> bool:
    """Return whether this installation created an id; its last character is the attempt."""
    tag = settings.FILLCAST_INSTALLATION_TAG
    is_whole = len(client_order_id) == len(tag) + 15 and client_order_id[-1:].isdigit()
    return is_whole and client_order_id.startswith(tag)


# ---- used by the audit -------------------------------------------------------------------------
def stored(
    with_books: Collection[str], signal_id: int | None = None
) -> tuple[list[Listing], list[NotJudged]]:
    """Return the valid listings of the audited accounts, and the accounts without one.

    with_books: as for `request`. signal_id: only the accounts of that signal's orders.
    """
    parameters = {"with_books": array(with_books), "signal": signal_id, "valid": VALID_SECONDS}
    listings, not_judged = [], []
    for row in rows(Query(StoredListing, _with_audited(STORED)), parameters):
        if row.is_valid:
            listings.append(_listing(row))
        else:
            not_judged.append(NotJudged(str(row.connection_id), row.name, *_reason_not_judged(row)))
    return listings, not_judged


def _listing(row: StoredListing) -> Listing:
    assert row.began_at is not None  # as for each valid one
    assert row.executed_since is not None
    key, accepted = str(row.connection_id), list(_accepted(row, row.began_at))
    positions = [
        BookPosition(key, ticket, Side(side), Decimal(quantity), cid if _is_ours(cid) else "")
        for ticket, side, quantity, cid in row.positions or ()
    ]
    return Listing(row.connection_id, row.began_at, row.executed_since, accepted, positions)


def _accepted(row: StoredListing, began: datetime) -> Iterator[AcceptedOrder]:
    """Yield each client order id with its number of broker orders and the quantity executed."""
    broker_order_ids: dict[str, set[str]] = {}
    executed: dict[str, Decimal] = {}
    for cid, broker_order_id, quantity in row.orders or ():
        broker_order_ids.setdefault(cid, set()).add(broker_order_id)
        executed[cid] = executed.get(cid, Decimal(0)) + Decimal(quantity)
    for cid, ids in broker_order_ids.items():
        yield AcceptedOrder(str(row.connection_id), cid, len(ids), began, executed[cid])


def _reason_not_judged(row: StoredListing) -> tuple[Code, str]:
    """Return why an account cannot be judged: a code and a sentence. Pure."""
    if row.status != "ACTIVE":
        detail = row.last_error or "it has not passed a connection test"
        return Code.CONNECTION_ERROR, f"The connection is in error: {detail}"
    if row.is_host_down:
        return Code.BROKER_HOST_DOWN, "Most accounts at this broker's host do not answer."
    if row.has_no_worker:
        return Code.NO_SESSION_WORKER, "No worker holds this account's session."
    if row.has_failed and row.reason == Code.NOT_SUPPORTED:
        return Code.NOT_SUPPORTED, "Its broker cannot list orders and executions."
    if row.has_failed and row.reason:
        return Code(row.reason), f"The read failed: {row.reason} {row.detail}".strip()
    return Code.AUDIT_NOT_READ, "No worker has read it in time."


# ---- reported to operators ---------------------------------------------------------------------
# Each run stores the accounts that it could not judge and reports those not reported today.
REPORTED_TODAY = Query(
    ReportedAccount,
    """
SELECT DISTINCT account->>'connection' AS connection
FROM execution_auditrun, jsonb_array_elements(not_judged) account
WHERE at >= date_trunc('day', clock_timestamp(), 'UTC')
""",
)


def report_not_judged(not_judged: Sequence[NotJudged]) -> None:
    """Write one event about accounts that were not judged, if one is new today (UTC).

    The event names all of them, new ones first. An account that is judged only now and then causes
    one message a day. Call it in the transaction that stores the audit run, before the run.
    """
    if not not_judged:
        return
    reported = {row.connection for row in rows(REPORTED_TODAY)}
    ordered = sorted(not_judged, key=lambda account: account.connection in reported)  # stable
    if ordered[0].connection not in reported:
        named: list[dict[str, Any]] = [asdict(account) for account in ordered[:NAMED_ACCOUNTS]]
        emit(EventKind.AUDIT_NOT_JUDGED, payload={"count": len(ordered), "accounts": named})
