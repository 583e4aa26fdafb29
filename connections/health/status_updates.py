"""How connections fare, written for many at once by compare-and-set.

Each statement locks its rows in the order of their ids, so that two of them never wait in a circle,
and an event is written only where the status really changed: thousands of failing calls of one
account are one alarm. Statuses say what happened, not what is wished: ERROR by a failure, ACTIVE
by an answer. One lost answer alone is no failure of an account that was well: it counts, and the
account is read again at once (`connections.health.probes`); three in a row, or the second after
half a minute, are.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from enum import StrEnum, auto
from types import MappingProxyType
from uuid import UUID

from django.db import DataError, IntegrityError, transaction

from brokers.maintenance_windows import Maintenance
from brokers.redaction import storable
from common.reason_codes import Code
from common.sql import columns, rows, run
from connections.health import host_circuit_breaker, maintenance
from events.models import EventKind


class RetryPolicy(StrEnum):
    """When an account is asked again by itself.

    LOOK: within seconds, for nobody answered (`connections.health.probes`). SOON: within a minute:
    its login is well, its answer could not be used, and entries wait. DISABLED: within 15 s: its
    broker does not allow trading on it now, and entries wait. RARELY: its login is refused, which
    nothing but its owner or its broker can end, and a broker locks accounts whose login fails
    again and again: within half an hour most have forgotten the last try. After it, as long again
    as it has been refused for, up to 12 hours.
    """

    IMMEDIATE = auto()
    NEXT_ROUND = auto()
    DISABLED = auto()
    BACKOFF = auto()


NEXT_ROUND_SECONDS = 45  # so each round of reading, a minute apart, is one
DISABLED_SECONDS = 15  # several times within the age that a market entry may have
BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 1800, 12 * 3600
_LOGIN_CODES = frozenset(
    {Code.CREDENTIALS_REFUSED, Code.ACCOUNT_MISMATCH, Code.UNKNOWN_ACCOUNT, Code.NO_CREDENTIALS}
)

FAILURES_UNTIL_ERROR, FAILING_SECONDS = 3, 30
FAILURES_UNTIL_CIRCUIT_OPENS = 5
CIRCUIT_OPEN_SECONDS, MAX_CIRCUIT_OPEN_SECONDS = 30, 60  # no longer than a market entry may wait
MAX_MESSAGE_LENGTH = 500
NO_START_TIMES: Mapping[UUID, datetime | None] = MappingProxyType({})
CONTACT_OPERATORS = "Tell the operators; the log has the place."
UNUSABLE_ANSWER = "What the broker says of the account cannot be used"

OWN_FAULTS = (TypeError, LookupError, AttributeError)
"""What is our own program's fault where it breaks the answers of several accounts alike."""
UNUSABLE_ERRORS = (DataError, IntegrityError, ValueError, ArithmeticError, *OWN_FAULTS)
"""What comes of an answer that cannot be used. Anything else that is raised while answers are
written (the database is away, this process ends) is no account's fault."""

_EMIT_EVENT = """, told_outside AS (
  INSERT INTO events_event (kind, user_id, connection_id, payload)
  SELECT '{kind}', coalesce(c.user_id, c.admin_id), c.id,
    jsonb_build_object('name', c.name, 'message', changed.message)
  FROM changed JOIN connections_executionconnection c ON c.id = changed.connection_id
  WHERE changed.was {when})
SELECT connection_id FROM changed WHERE was {when}"""

# What was asked before a test says nothing of what the connection is since: it may have had other
# credentials.
_ERRORS = f"""
WITH told AS (
  SELECT t.*, %(sure)s::boolean AS is_sure, %(again)s::text AS again
  FROM unnest(%(ids)s::uuid[], %(messages)s::text[], %(forgiven)s::boolean[],
    %(began)s::timestamptz[]) AS t (connection_id, message, is_forgiven, began)
), before AS (
  SELECT h.connection_id, h.status AS was, h.consecutive_failures + 1 AS failures, told.message,
    told.again, told.is_forgiven, NOT told.is_forgiven AND (told.is_sure OR h.status <> 'ACTIVE'
      OR h.consecutive_failures + 1 >= {FAILURES_UNTIL_ERROR} OR h.consecutive_failures > 0
        AND h.failing_since < clock_timestamp() - interval '{FAILING_SECONDS} seconds') AS fails
  FROM connections_connectionhealth h JOIN told USING (connection_id)
  WHERE (greatest(h.last_tested_at, h.test_requested_at) > told.began) IS NOT TRUE
  ORDER BY h.connection_id FOR NO KEY UPDATE OF h
), changed AS (
  UPDATE connections_connectionhealth h SET
    status = CASE WHEN before.fails THEN 'ERROR' ELSE h.status END,
    last_error = before.message, last_error_at = clock_timestamp(),
    consecutive_failures = CASE WHEN before.is_forgiven THEN h.consecutive_failures
      ELSE before.failures END,
    failing_since = CASE WHEN before.is_forgiven THEN h.failing_since
      ELSE coalesce(h.failing_since, clock_timestamp()) END,
    unreachable_at = CASE WHEN before.again = '{RetryPolicy.IMMEDIATE}' THEN clock_timestamp() END,
    error_code = CASE before.again WHEN '{RetryPolicy.DISABLED}'
      THEN '{Code.ACCOUNT_TRADING_DISABLED.value}' WHEN '{RetryPolicy.NEXT_ROUND}'
      THEN '{Code.ACCOUNT_ANSWER_UNUSABLE.value}' ELSE '' END,
    errored_at = CASE WHEN before.fails AND before.was <> 'ERROR' THEN clock_timestamp()
      ELSE h.errored_at END,
    read_after = clock_timestamp() + CASE before.again
      WHEN '{RetryPolicy.NEXT_ROUND}' THEN interval '{NEXT_ROUND_SECONDS} seconds'
      WHEN '{RetryPolicy.DISABLED}' THEN interval '{DISABLED_SECONDS} seconds'
      WHEN '{RetryPolicy.BACKOFF}' THEN greatest(interval '{BACKOFF_SECONDS} seconds',
        least(interval '{MAX_BACKOFF_SECONDS} seconds',
          clock_timestamp() - coalesce(h.failing_since, clock_timestamp()))) END,
    reconciled_at = CASE WHEN NOT before.fails OR before.was = 'ERROR' THEN h.reconciled_at END,
    circuit_open_until = CASE WHEN before.failures >= {FAILURES_UNTIL_CIRCUIT_OPENS} AND NOT
      before.is_forgiven
      THEN clock_timestamp() + make_interval(secs => least(CASE before.again
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

# Most answers come from connections that are known to be well: no row is locked for them. What must
# be tested is not well by an answer: if it was in error, its test is due now.
_ACTIVE = f"""
WITH before AS (
  SELECT h.connection_id, h.last_error AS message, CASE WHEN h.status = 'ACTIVE'
    AND h.inactivity_alerted_at IS NOT NULL THEN 'SILENT' ELSE h.status END AS was
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
        when="IN ('ERROR', 'SILENT') AND NOT needs_test",
    )
}
"""

# What its owner has to mend and no other answer says: the account goes on. Nothing that is worse is
# written over, and no comparison that is waited for is put off (it must be younger than an error).
_REFUSED = """
WITH told AS (
  SELECT connection_id, message FROM unnest(%(ids)s::uuid[], %(messages)s::text[])
    AS t (connection_id, message)
), mine AS (
  SELECT h.connection_id, told.message FROM connections_connectionhealth h
  JOIN told USING (connection_id)
  WHERE h.status = 'ACTIVE' AND h.consecutive_failures = 0 AND h.reconciled_at IS NOT NULL
  ORDER BY h.connection_id FOR NO KEY UPDATE OF h
)
UPDATE connections_connectionhealth h
SET last_error = mine.message, last_error_at = clock_timestamp()
FROM mine WHERE h.connection_id = mine.connection_id
"""

_TOUCH = """
UPDATE connections_connectionhealth h SET {column} = clock_timestamp()
FROM (
  SELECT connection_id FROM connections_connectionhealth
  WHERE connection_id = ANY(%s::uuid[])
    AND ({column} IS NULL OR {column} < clock_timestamp() - make_interval(secs => %s))
  ORDER BY connection_id FOR NO KEY UPDATE SKIP LOCKED
) old WHERE h.connection_id = old.connection_id
"""


def retry_policy_for(code: Code) -> RetryPolicy:
    """Return when to ask again whom a broker answered this. All but LOOK is about the account
    itself: no second try tells anything else at once, and its host is well."""
    if code in _LOGIN_CODES:
        return RetryPolicy.BACKOFF
    return RetryPolicy.DISABLED if code is Code.TRADING_DISABLED else RetryPolicy.IMMEDIATE


def mark_errors(
    failed: Sequence[tuple[UUID, str]],
    *,
    retry: RetryPolicy = RetryPolicy.BACKOFF,
    began: Mapping[UUID, datetime | None] = NO_START_TIMES,
) -> list[UUID]:
    """Note what is surely wrong with each connection (a refused login, a failed test) with a
    sentence for its owner; no secrets in it. retry: when it is asked again by itself. began: when
    what it was asked with (settings, credentials) was read, by the database's clock; now, unless
    said. What is older than its last test, or than the wish for one, is dropped.

    Returns those that were not in error before: for them an event was written, and they take no
    entries until they are reconciled again. From the fifth failure in a row on a connection rests,
    30 seconds first and then 60, or SOON_SECONDS at most. In a maintenance window of the
    broker's it counts for nothing, unless it is the login that is refused.
    """
    suppressed = (
        {}
        if retry is RetryPolicy.BACKOFF
        else maintenance.suppressed_errors([one for one, _ in failed])
    )
    return _mark(failed, suppressed, is_sure=True, retry=retry, began=began)


def mark_failures(
    failed: Sequence[tuple[UUID, str]], *, began: Mapping[UUID, datetime | None] = NO_START_TIMES
) -> list[UUID]:
    """Note that these did not answer: an error only if it is not the first time (see above).
    began: as in `mark_errors`.

    Returns those that are in error because of it. Where most of a host's accounts do not answer,
    the host's circuit opens (`connections.health.host_circuit_breaker`). In a maintenance window
    of the broker's neither happens: the account is in doubt, and read again until it answers.
    """
    suppressed = maintenance.suppressed_errors([connection_id for connection_id, _ in failed])
    newly = _mark(failed, suppressed, is_sure=False, retry=RetryPolicy.IMMEDIATE, began=began)
    host_circuit_breaker.open_failing_circuits([one for one, _ in failed if one not in suppressed])
    return newly


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
        if one := suppressed.get(connection_id):
            message = f"Maintenance {maintenance.describe_window(one)} {message}"
        last[connection_id] = (storable(message)[:MAX_MESSAGE_LENGTH], connection_id in suppressed)
    records = [(one, *stored, began.get(one)) for one, stored in last.items()]
    ids, messages, is_suppressed, times = columns(records, 4)
    parameters = {"ids": ids, "messages": messages, "forgiven": is_suppressed, "began": times}
    found = rows(_ERRORS, {**parameters, "sure": is_sure, "again": retry.value})
    return [row.connection_id for row in found]


@transaction.atomic
def mark_active(connection_ids: Collection[UUID], *, cleared: Collection[UUID] = ()) -> list[UUID]:
    """Note that these brokers answered. Returns those that had been in error, or silent for so long
    that it was told (`connections.health.inactivity`), and are well now: what needs a test first
    (`ConnectionHealth.needs_test`) is tested for it. cleared: those of which an order went through,
    or a test passed: what `mark_refused` has noted is over."""
    host_circuit_breaker.close_answering_circuits(connection_ids)
    values = {"ids": list(connection_ids), "cleared": list(cleared)}
    return [row.connection_id for row in rows(_ACTIVE, values)]


def mark_refused(refused: Sequence[tuple[UUID, str]]) -> int:
    """Note why the broker of a connection that is well refused an order (its market is closed, it
    has no such symbol, the account no money), with a sentence for its owner. It stays ACTIVE and
    trades on; the next order that goes through or test that passes takes the note away. Returns how
    many were noted."""
    last = {one: storable(message)[:MAX_MESSAGE_LENGTH] for one, message in refused}
    ids, messages = columns(sorted(last.items(), key=str), 2)
    return run(_REFUSED, {"ids": ids, "messages": messages})


def mark_used(connection_ids: Collection[UUID], *, at_most_every_seconds: float = 1) -> int:
    """Note that orders went out on these connections. Returns how many rows were written.

    A row that somebody else holds, or that was written just now, is passed over: it is a hint for
    people and must not make trading wait.
    """
    return run(_TOUCH.format(column="last_used_at"), (list(connection_ids), at_most_every_seconds))


def mark_connected(connection_ids: Collection[UUID], *, at_most_every_seconds: float = 1) -> int:
    """Note that these brokers were spoken to. Returns how many rows were written."""
    return run(
        _TOUCH.format(column="last_connected_at"), (list(connection_ids), at_most_every_seconds)
    )
