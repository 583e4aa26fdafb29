"""Update the health of many connections at once, by compare-and-set.

Each statement locks its rows in the order of their ids, so that two of them cannot deadlock. An
event is stored only if the status changed: thousands of failing calls of one account raise one
alarm. The status records what happened: a failure makes it ERROR, an answer ACTIVE. A single lost
answer does not put a healthy account in error: it is counted, and the account is read again at once
(`connections.health.probes`). Three in a row do, or a second one after half a minute.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from enum import StrEnum, auto
from types import MappingProxyType
from uuid import UUID

from django.db import DataError, IntegrityError, transaction

from brokers.maintenance_windows import Maintenance
from brokers.redaction import storable
from common.db.sql import columns, periodic_run, rows, run
from common.reason_codes import Code
from connections.health import host_circuit_breaker, maintenance
from events.models import EventKind
from events.outbox import INSERT_EVENTS_SQL


class RetryPolicy(StrEnum):
    """When an account is read again automatically.

    IMMEDIATE: within seconds, because there was no answer (`connections.health.probes`).
    NEXT_ROUND: within a minute; the login works, the answer could not be used, and entries wait.
    DISABLED: within 15 s; the broker does not allow trading on it now, and entries wait.
    BACKOFF: after half an hour; the login is refused. Only its owner or its broker can change that,
    and brokers lock accounts after repeated failed logins; most forget a failed login within half
    an hour. Later tries wait as long as the login has been refused, up to 12 hours.
    """

    IMMEDIATE = auto()
    NEXT_ROUND = auto()
    DISABLED = auto()
    BACKOFF = auto()


NEXT_ROUND_SECONDS = 45  # less than the minute between two rounds of reading
DISABLED_SECONDS = 15  # several times within the maximum age of a market entry
BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 1800, 12 * 3600
_LOGIN_CODES = frozenset(
    {Code.CREDENTIALS_REFUSED, Code.ACCOUNT_MISMATCH, Code.UNKNOWN_ACCOUNT, Code.NO_CREDENTIALS}
)

FAILURES_UNTIL_ERROR, FAILING_SECONDS = 3, 30
FAILURES_UNTIL_CIRCUIT_OPENS = 5
CIRCUIT_OPEN_SECONDS, MAX_CIRCUIT_OPEN_SECONDS = 30, 60  # at most the time a market entry may wait
MAX_MESSAGE_LENGTH = 500
NO_START_TIMES: Mapping[UUID, datetime | None] = MappingProxyType({})
CONTACT_OPERATORS = "Contact the operators; the log has the details."
UNUSABLE_ANSWER = "The broker's account data cannot be used"

OWN_FAULTS = (TypeError, LookupError, AttributeError)
"""Errors that are bugs of ours if they occur with the answers of several accounts."""
UNUSABLE_ERRORS = (DataError, IntegrityError, ValueError, ArithmeticError, *OWN_FAULTS)
"""Errors that an unusable answer can cause. Any other error while answers are stored (no database,
the end of this process) is not caused by an account."""

_EMIT_EVENT = f""", emitted AS (
  {INSERT_EVENTS_SQL}
  SELECT '{{kind}}', coalesce(c.user_id, c.admin_id), c.id, NULL, NULL,
    jsonb_build_object('name', c.name, 'message', changed.message)
  FROM changed JOIN connections_executionconnection c ON c.id = changed.connection_id
  WHERE changed.was {{when}})
SELECT connection_id FROM changed WHERE was {{when}}"""

# A call from before the last test proves nothing of the connection as it is now: it may have used
# other credentials.
_ERRORS = f"""
WITH failed AS (
  SELECT t.*, %(sure)s::boolean AS is_sure, %(retry)s::text AS retry
  FROM unnest(%(ids)s::uuid[], %(messages)s::text[], %(suppressed)s::boolean[],
    %(began)s::timestamptz[]) AS t (connection_id, message, is_suppressed, began)
), before AS (
  SELECT h.connection_id, h.status AS was, h.consecutive_failures + 1 AS failures, failed.message,
    failed.retry, failed.is_suppressed, NOT failed.is_suppressed AND (failed.is_sure
      OR h.status <> 'ACTIVE'
      OR h.consecutive_failures + 1 >= {FAILURES_UNTIL_ERROR} OR h.consecutive_failures > 0
        AND h.failing_since < clock_timestamp() - interval '{FAILING_SECONDS} seconds') AS fails
  FROM connections_connectionhealth h JOIN failed USING (connection_id)
  WHERE (greatest(h.last_tested_at, h.test_requested_at) > failed.began) IS NOT TRUE
  ORDER BY h.connection_id FOR NO KEY UPDATE OF h
), changed AS (
  UPDATE connections_connectionhealth h SET
    status = CASE WHEN before.fails THEN 'ERROR' ELSE h.status END,
    last_error = before.message, last_error_at = clock_timestamp(),
    consecutive_failures = CASE WHEN before.is_suppressed THEN h.consecutive_failures
      ELSE before.failures END,
    failing_since = CASE WHEN before.is_suppressed THEN h.failing_since
      ELSE coalesce(h.failing_since, clock_timestamp()) END,
    unreachable_at = CASE WHEN before.retry = '{RetryPolicy.IMMEDIATE}' THEN clock_timestamp() END,
    error_code = CASE before.retry WHEN '{RetryPolicy.DISABLED}'
      THEN '{Code.ACCOUNT_TRADING_DISABLED.value}' WHEN '{RetryPolicy.NEXT_ROUND}'
      THEN '{Code.ACCOUNT_ANSWER_UNUSABLE.value}' ELSE '' END,
    errored_at = CASE WHEN before.fails AND before.was <> 'ERROR' THEN clock_timestamp()
      ELSE h.errored_at END,
    read_after = clock_timestamp() + CASE before.retry
      WHEN '{RetryPolicy.NEXT_ROUND}' THEN interval '{NEXT_ROUND_SECONDS} seconds'
      WHEN '{RetryPolicy.DISABLED}' THEN interval '{DISABLED_SECONDS} seconds'
      WHEN '{RetryPolicy.BACKOFF}' THEN greatest(interval '{BACKOFF_SECONDS} seconds',
        least(interval '{MAX_BACKOFF_SECONDS} seconds',
          clock_timestamp() - coalesce(h.failing_since, clock_timestamp()))) END,
    reconciled_at = CASE WHEN NOT before.fails OR before.was = 'ERROR' THEN h.reconciled_at END,
    circuit_open_until = CASE WHEN before.failures >= {FAILURES_UNTIL_CIRCUIT_OPENS} AND NOT
      before.is_suppressed
      THEN clock_timestamp() + make_interval(secs => least(CASE before.retry
        WHEN '{RetryPolicy.NEXT_ROUND}' THEN {NEXT_ROUND_SECONDS} WHEN '{RetryPolicy.DISABLED}'
          THEN {DISABLED_SECONDS}
        ELSE {MAX_CIRCUIT_OPEN_SECONDS} END,
        {CIRCUIT_OPEN_SECONDS} * power(2, least(before.failures - {FAILURES_UNTIL_CIRCUIT_OPENS},
          10))))
      ELSE h.circuit_open_until END
  FROM before WHERE h.connection_id = before.connection_id
  RETURNING h.connection_id, before.was, before.message, before.fails
){_EMIT_EVENT.format(kind=EventKind.CONNECTION_ERROR.value, when="<> 'ERROR' AND changed.fails")}
"""

# Most answers come from healthy connections: no row is locked for them. A connection that needs a
# test does not become ACTIVE by an answer: if it was in error, its test becomes due now.
_ACTIVE = f"""
WITH before AS (
  SELECT h.connection_id, h.last_error AS message, CASE WHEN h.status = 'ACTIVE'
    AND h.inactivity_alerted_at IS NOT NULL THEN 'INACTIVE' ELSE h.status END AS was
  FROM connections_connectionhealth h
  WHERE h.connection_id = ANY(%(ids)s::uuid[])
    AND (h.status <> 'ACTIVE' OR h.consecutive_failures > 0 OR h.circuit_open_until IS NOT NULL
      OR h.last_error <> '' AND h.connection_id = ANY(%(cleared)s::uuid[])
      OR h.unreachable_at IS NOT NULL OR h.inactivity_alerted_at IS NOT NULL)
  ORDER BY h.connection_id FOR NO KEY UPDATE
), changed AS (
  UPDATE connections_connectionhealth h SET
    status = CASE WHEN h.needs_test THEN h.status ELSE 'ACTIVE' END,
    last_error = CASE WHEN h.needs_test OR h.status = 'ACTIVE' AND h.consecutive_failures = 0
      AND h.unreachable_at IS NULL AND h.connection_id <> ALL(%(cleared)s::uuid[])
      THEN h.last_error ELSE '' END,
    read_after = CASE WHEN h.needs_test THEN h.read_after END,
    error_code = CASE WHEN h.needs_test THEN h.error_code ELSE '' END,
    failing_since = CASE WHEN h.needs_test THEN h.failing_since END,
    test_requested_at = CASE WHEN h.needs_test AND h.status = 'ERROR'
      AND coalesce(h.last_tested_at >= h.test_requested_at, h.test_requested_at IS NULL)
      THEN clock_timestamp() ELSE h.test_requested_at END,
    consecutive_failures = 0, circuit_open_until = NULL, unreachable_at = NULL,
    inactivity_alerted_at = NULL, last_connected_at = clock_timestamp()
  FROM before WHERE h.connection_id = before.connection_id
  RETURNING h.connection_id, before.was, before.message, h.needs_test
){
    _EMIT_EVENT.format(
        kind=EventKind.CONNECTION_RECOVERED.value,
        when="IN ('ERROR', 'INACTIVE') AND NOT needs_test",
    )
}
"""

# Only the owner can resolve this, and the account trades on. It overwrites no worse error, and
# postpones no reconciliation that entries wait for (it must be newer than the last error).
_REFUSED = """
WITH refused AS (
  SELECT connection_id, message FROM unnest(%(ids)s::uuid[], %(messages)s::text[])
    AS t (connection_id, message)
), mine AS (
  SELECT h.connection_id, refused.message FROM connections_connectionhealth h
  JOIN refused USING (connection_id)
  WHERE h.status = 'ACTIVE' AND h.consecutive_failures = 0 AND h.reconciled_at IS NOT NULL
  ORDER BY h.connection_id FOR NO KEY UPDATE OF h
)
UPDATE connections_connectionhealth h
SET last_error = mine.message, last_error_at = clock_timestamp()
FROM mine WHERE h.connection_id = mine.connection_id
"""

TOUCH = """
UPDATE connections_connectionhealth h SET {column} = clock_timestamp()
FROM (
  SELECT connection_id FROM connections_connectionhealth
  WHERE connection_id = ANY(%s::uuid[])
    AND ({column} IS NULL OR {column} < clock_timestamp() - make_interval(secs => %s))
  ORDER BY connection_id FOR NO KEY UPDATE SKIP LOCKED
) old WHERE h.connection_id = old.connection_id
"""
"""Set a time of these accounts, `{column}`, unless it is younger than some seconds."""


def retry_policy_for(code: Code) -> RetryPolicy:
    """Return when to read an account again whose broker answered with this code.

    Any policy but IMMEDIATE means that the account itself is the cause: a second try at once would
    fail in the same way, and the host works.
    """
    if code in _LOGIN_CODES:
        return RetryPolicy.BACKOFF
    return RetryPolicy.DISABLED if code is Code.TRADING_DISABLED else RetryPolicy.IMMEDIATE


def mark_errors(
    failed: Sequence[tuple[UUID, str]],
    *,
    retry: RetryPolicy = RetryPolicy.BACKOFF,
    began: Mapping[UUID, datetime | None] = NO_START_TIMES,
) -> list[UUID]:
    """Record a definite error of each connection (a refused login, a failed test).

    failed: connection id and a sentence for the owner, without secrets. retry: when the account is
    read again. began: when the settings and credentials of the call were read, by the database's
    clock; default: now. An error is dropped if a test was done or requested after that.

    Returns those that were not in error before. For them an event is stored, and they take no
    entries until they are reconciled again. From the fifth failure in a row on, the connection's
    circuit opens, first for 30 seconds and then for 60, or as long as `retry` waits if that is
    shorter. In a maintenance window of the broker an error has no effect, except a refused login.
    """
    suppressed = (
        {}
        if retry is RetryPolicy.BACKOFF
        else maintenance.suppressed_errors([connection_id for connection_id, _ in failed])
    )
    return _mark(failed, suppressed, is_sure=True, retry=retry, began=began)


def mark_failures(
    failed: Sequence[tuple[UUID, str]], *, began: Mapping[UUID, datetime | None] = NO_START_TIMES
) -> list[UUID]:
    """Record that these connections did not answer; the first time is no error (see above).

    began: as in `mark_errors`. Returns those that are in error because of it. If most of a host's
    accounts do not answer, the host's circuit opens (`connections.health.host_circuit_breaker`). In
    a maintenance window of the broker neither happens: the account is read again until it answers.
    """
    ids = [connection_id for connection_id, _ in failed]
    suppressed = maintenance.suppressed_errors(ids)
    in_error = _mark(failed, suppressed, is_sure=False, retry=RetryPolicy.IMMEDIATE, began=began)
    host_circuit_breaker.open_failing_circuits([pk for pk in ids if pk not in suppressed])
    return in_error


@transaction.atomic
def _mark(
    failed: Sequence[tuple[UUID, str]],
    suppressed: Mapping[UUID, Maintenance],
    *,
    is_sure: bool,
    retry: RetryPolicy,
    began: Mapping[UUID, datetime | None],
) -> list[UUID]:
    last = {}
    for connection_id, message in failed:
        if window := suppressed.get(connection_id):
            message = f"Maintenance {maintenance.describe_window(window)} {message}"
        last[connection_id] = (storable(message)[:MAX_MESSAGE_LENGTH], connection_id in suppressed)
    records = [(pk, *stored, began.get(pk)) for pk, stored in last.items()]
    ids, messages, is_suppressed, times = columns(records, 4)
    parameters = {"ids": ids, "messages": messages, "suppressed": is_suppressed, "began": times}
    changed = rows(_ERRORS, {**parameters, "sure": is_sure, "retry": retry.value})
    return [row.connection_id for row in changed]


@transaction.atomic
def mark_active(connection_ids: Collection[UUID], *, cleared: Collection[UUID] = ()) -> list[UUID]:
    """Record that the brokers of these connections answered.

    cleared: those of which an order went through or a test passed; this clears the message of
    `mark_refused`. Returns those that are healthy again after an error or an inactivity alert
    (`connections.health.inactivity`). One that needs a test first (`ConnectionHealth.needs_test`)
    is not: its test becomes due.
    """
    host_circuit_breaker.close_answering_circuits(connection_ids)
    values = {"ids": list(connection_ids), "cleared": list(cleared)}
    return [row.connection_id for row in rows(_ACTIVE, values)]


def mark_refused(refused: Sequence[tuple[UUID, str]]) -> int:
    """Record why a broker refused an order of a healthy connection; return how many were recorded.

    refused: connection id and a sentence for the owner, for example that the market is closed or
    the account has no money. The connection stays ACTIVE and trades on. The next order that goes
    through, or test that passes, clears it.
    """
    last = {pk: storable(message)[:MAX_MESSAGE_LENGTH] for pk, message in refused}
    ids, messages = columns(sorted(last.items(), key=str), 2)
    return run(_REFUSED, {"ids": ids, "messages": messages})


def mark_used(connection_ids: Collection[UUID], *, at_most_every_seconds: float = 1) -> int:
    """Record that orders were sent on these connections. Return how many rows were written.

    A row that is locked, or was written just now, is skipped: the time is only shown to people and
    must not delay trading.
    """
    return _touch("last_used_at", connection_ids, at_most_every_seconds)


def mark_connected(connection_ids: Collection[UUID], *, at_most_every_seconds: float = 1) -> int:
    """Record contact with the brokers of these connections. Return how many rows were written."""
    return _touch("last_connected_at", connection_ids, at_most_every_seconds)


def _touch(column: str, connection_ids: Collection[UUID], at_most_every_seconds: float) -> int:
    if not connection_ids:
        return 0
    # With a kept plan: else the planner reads all of 100,000 accounts for a bundle of 500.
    return periodic_run(TOUCH.format(column=column), (list(connection_ids), at_most_every_seconds))
