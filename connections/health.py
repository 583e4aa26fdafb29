"""How connections fare, written for many at once by compare-and-set.

Each statement locks its rows in the order of their ids, so that two of them never wait in a circle,
and an event is written only where the status really changed: thousands of failing calls of one
account are one alarm. Statuses say what happened, not what is wished: ERROR by a failure, ACTIVE
by an answer.
"""

from collections.abc import Collection, Sequence
from uuid import UUID

from django.db import transaction

from common.sql import columns, rows, run
from events.models import EventKind

FAILURES_TO_REST = 5
REST_SECONDS, LONGEST_REST_SECONDS = 30, 600
LONGEST_MESSAGE = 500

_TELL = """, told_outside AS (
  INSERT INTO events_event (kind, user_id, connection_id, payload)
  SELECT '{kind}', coalesce(c.user_id, c.admin_id), c.id,
    jsonb_build_object('name', c.name, 'message', changed.message)
  FROM changed JOIN connections_executionconnection c ON c.id = changed.connection_id
  WHERE changed.was {when})
SELECT connection_id FROM changed WHERE was {when}"""

_ERRORS = f"""
WITH told AS (
  SELECT * FROM unnest(%(ids)s::uuid[], %(messages)s::text[]) AS t (connection_id, message)
), before AS (
  SELECT h.connection_id, h.status AS was, h.failures_in_a_row + 1 AS failures, told.message
  FROM connections_connectionhealth h JOIN told USING (connection_id)
  ORDER BY h.connection_id FOR NO KEY UPDATE OF h
), changed AS (
  UPDATE connections_connectionhealth h SET
    status = 'ERROR', last_error = before.message, last_error_at = clock_timestamp(),
    failures_in_a_row = before.failures,
    reconciled_at = CASE WHEN before.was = 'ERROR' THEN h.reconciled_at END,
    circuit_open_until = CASE WHEN before.failures >= {FAILURES_TO_REST}
      THEN clock_timestamp() + make_interval(secs => least({LONGEST_REST_SECONDS}, {REST_SECONDS}
        * power(2, least(before.failures - {FAILURES_TO_REST}, 10))))
      ELSE h.circuit_open_until END
  FROM before WHERE h.connection_id = before.connection_id
  RETURNING h.connection_id, before.was, before.message
){_TELL.format(kind=EventKind.CONNECTION_ERROR.value, when="<> 'ERROR'")}
"""

# Most answers come from connections that are known to be well: no row is locked for them.
_ACTIVE = f"""
WITH before AS (
  SELECT h.connection_id, h.status AS was, h.last_error AS message
  FROM connections_connectionhealth h
  WHERE h.connection_id = ANY(%(ids)s::uuid[])
    AND (h.status <> 'ACTIVE' OR h.failures_in_a_row > 0 OR h.circuit_open_until IS NOT NULL)
  ORDER BY h.connection_id FOR NO KEY UPDATE
), changed AS (
  UPDATE connections_connectionhealth h SET
    status = 'ACTIVE', last_error = '', failures_in_a_row = 0, circuit_open_until = NULL,
    last_connected_at = clock_timestamp()
  FROM before WHERE h.connection_id = before.connection_id
  RETURNING h.connection_id, before.was, before.message
){_TELL.format(kind=EventKind.CONNECTION_RECOVERED.value, when="= 'ERROR'")}
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


@transaction.atomic
def mark_errors(failed: Sequence[tuple[UUID, str]]) -> list[UUID]:
    """Note a failure of each connection with a sentence for its owner; no secrets in it.

    Returns those that were not in error before: for them an event was written, and they take no
    entries until they are reconciled again. From the fifth failure in a row on a connection rests,
    30 seconds first and up to 10 minutes.
    """
    last = {connection_id: message[:LONGEST_MESSAGE] for connection_id, message in failed}
    ids, messages = columns(list(last.items()), 2)
    return [row.connection_id for row in rows(_ERRORS, {"ids": ids, "messages": messages})]


@transaction.atomic
def mark_active(connection_ids: Collection[UUID]) -> list[UUID]:
    """Note that these brokers answered. Returns those that had been in error."""
    return [row.connection_id for row in rows(_ACTIVE, {"ids": list(connection_ids)})]


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
