"""Stale orders: unknown for too long, stuck at the broker, with a cancel or a change that has no
answer, or exits that wait too long for a comparison.

Each is alerted once. Stuck orders are looked up first and then handled as the preset's
`stuck_policy` states. Working LIMIT and STOP orders are not stuck: they may wait while their signal
is valid.

Statements order by `id + 0`: with `id` the planner may walk the primary key of all orders.
"""

from common.db.sql import run
from common.operational.current import settings_now
from common.reason_codes import Code
from connections.selectors import PRESET_JOIN_SQL, connection_join_sql
from execution.base.statements import (
    OPEN_CHANGE_SQL,
    event_rows_sql,
    insert_events_sql,
    insert_log_sql,
    log_rows_sql,
)

UNANSWERED_CANCELS = 4  # requests until an alert; the fourth is half a minute after the first
UNANSWERED_SECONDS = 60  # since a cancel was due, however often it was requested meanwhile
CHANGE_SECONDS = 180  # since a change was requested: three sends without an answer take less
COMPARISON_SECONDS = 300  # far longer than a requested comparison takes


def _alert(kind: str) -> str:
    """Return the end of a statement: log the orders `found` with their code, and emit an event."""
    event = event_rows_sql(
        "found m", kind=f"'{kind}'", payload="jsonb_build_object('code', m.code)"
    )
    return f""", logged AS (
  {insert_log_sql(log_rows_sql("found m", code="m.code"))}
), events AS (
  {insert_events_sql(event)}
)
SELECT count(*) FROM found
"""


ALERT_STALE_UNKNOWN = f"""
WITH found AS (
  SELECT o.id, o.signal_id, o.connection_id, o.status, '{Code.UNKNOWN_TOO_LONG.value}' AS code
  FROM execution_order o
  WHERE o.status = 'UNKNOWN' AND o.answer_by < statement_timestamp() - make_interval(secs => %s)
    AND NOT EXISTS (SELECT FROM execution_executionlog l WHERE l.order_id = o.id
      AND l.code = '{Code.UNKNOWN_TOO_LONG.value}' AND l.at > o.submitted_at)
  ORDER BY o.id + 0 LIMIT 1000 FOR NO KEY UPDATE OF o SKIP LOCKED
)""" + _alert("order.unknown_too_long")

# The order's reason shows the step: STUCK is looked up, the codes after it are handled.
LOOK_UP_STUCK = f"""
WITH found AS (
  UPDATE execution_order SET reason = '{Code.STUCK.value}', detail = '',
    lookup_after = clock_timestamp(), due_at = clock_timestamp() + make_interval(secs => %(answer)s)
  WHERE id = ANY(ARRAY(
    SELECT id FROM execution_order
    WHERE status IN ('SUBMITTED', 'PARTIALLY_FILLED') AND client_order_id IS NOT NULL
      AND (order_type = 'MARKET' OR time_in_force IN ('IOC', 'FOK')) AND pending_action = ''
      AND reason NOT IN ('{Code.STUCK.value}', '{Code.STUCK_ESCALATED.value}')
      AND coalesce(acknowledged_at, submitted_at)
        < clock_timestamp() - make_interval(secs => %(stuck)s)
    ORDER BY id + 0 LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED))
  RETURNING id, signal_id, connection_id, status
)
{insert_log_sql(log_rows_sql("found m", code=f"'{Code.STUCK.value}'"))}
"""

# A stuck exit is never cancelled automatically: its position would stay open.
HANDLE_STUCK = f"""
WITH due AS (
  SELECT o.id, o.position_id IS NULL AND t.stuck_policy = 'CANCEL' AS is_cancelled
  FROM execution_order o {connection_join_sql("o.connection_id")}
  {PRESET_JOIN_SQL}
  WHERE o.status IN ('SUBMITTED', 'PARTIALLY_FILLED') AND o.reason = '{Code.STUCK.value}'
    AND o.due_at <= clock_timestamp() AND o.pending_action = ''
  ORDER BY o.id + 0 LIMIT 1000 FOR NO KEY UPDATE OF o SKIP LOCKED
), found AS (
  UPDATE execution_order o SET pending_action = CASE WHEN d.is_cancelled THEN 'CANCEL' ELSE '' END,
    due_at = clock_timestamp(), reason = CASE WHEN d.is_cancelled
      THEN '{Code.STUCK_CANCELLED.value}' ELSE '{Code.STUCK_ESCALATED.value}' END
  FROM due d WHERE o.id = d.id AND o.id = ANY(ARRAY(SELECT id FROM due))
  RETURNING o.id, o.signal_id, o.connection_id, o.status, o.reason AS code
)""" + _alert("order.stuck")

# We keep requesting the cancel. One alert states that it was refused or not answered several times,
# another that it could not be sent. Such an order is also looked up: its end may have been lost.
_UNANSWERED_CODE = f"""CASE WHEN pending_action_attempts > 1 THEN '{Code.CANCEL_UNANSWERED.value}'
  ELSE '{Code.CANCEL_DELAYED.value}' END"""

ALERT_UNANSWERED_CANCELS = f"""
WITH found AS (
  UPDATE execution_order SET reason = {_UNANSWERED_CODE}, detail = '',
    lookup_after = CASE WHEN pending_action_attempts > 2 THEN lookup_after
      ELSE coalesce(lookup_after, clock_timestamp()) END
  WHERE id = ANY(ARRAY(
    SELECT o.id FROM execution_order o
    WHERE o.pending_action <> '' AND (o.pending_action_attempts >= %(tries)s
        -- Where no process holds the lane no request was begun: count from the due time.
        OR coalesce(o.pending_action_since, o.due_at)
          < clock_timestamp() - make_interval(secs => %(seconds)s))
      AND o.status IN ('SUBMITTED', 'PARTIALLY_FILLED', 'CANCEL_REQUESTED')
      AND NOT EXISTS (SELECT FROM execution_executionlog l WHERE l.order_id = o.id
        AND l.code IN ('{Code.CANCEL_UNANSWERED.value}', {_UNANSWERED_CODE})
        AND l.at >= coalesce(o.pending_action_since, '-infinity'))
    ORDER BY o.id + 0 LIMIT 1000 FOR NO KEY UPDATE OF o SKIP LOCKED))
  RETURNING id, signal_id, connection_id, status, reason AS code
)""" + _alert("order.stuck")


# The order works on meanwhile; what its broker has may be either. It is read until that is known.
ALERT_OPEN_CHANGES = f"""
WITH found AS (
  SELECT o.id, o.signal_id, o.connection_id, o.status,
    '{Code.CHANGE_UNKNOWN_TOO_LONG.value}' AS code
  FROM execution_order o JOIN execution_entrychange h ON h.order_id = o.id
  WHERE h.state IN {OPEN_CHANGE_SQL}
    AND h.requested_at < clock_timestamp() - make_interval(secs => %(seconds)s)
    AND NOT EXISTS (SELECT FROM execution_executionlog l WHERE l.order_id = o.id
      AND l.code = '{Code.CHANGE_UNKNOWN_TOO_LONG.value}' AND l.at >= h.requested_at)
  ORDER BY o.id + 0 LIMIT 1000 FOR NO KEY UPDATE OF o SKIP LOCKED
)""" + _alert("order.stuck")


# A comparison ends this wait, unless it cannot attribute the broker's quantity to one position.
ALERT_AWAITED_COMPARISONS = f"""
WITH found AS (
  SELECT o.id, o.signal_id, o.connection_id, o.status,
    '{Code.EXIT_AWAITS_COMPARISON.value}' AS code
  FROM execution_order o
  WHERE o.status = 'PENDING' AND o.reason = '{Code.EXIT_AWAITS_COMPARISON.value}'
    AND o.waiting_since < clock_timestamp() - make_interval(secs => %(seconds)s)
    AND NOT EXISTS (SELECT FROM execution_executionlog l WHERE l.order_id = o.id
      AND l.code = '{Code.EXIT_AWAITS_COMPARISON.value}'
      AND l.at >= o.waiting_since + make_interval(secs => %(seconds)s))
  ORDER BY o.id + 0 LIMIT 1000 FOR NO KEY UPDATE OF o SKIP LOCKED
)""" + _alert("exit.delayed")


def alert_stale_unknown() -> None:
    """Alert once on each order that is UNKNOWN for more than execution.unknown_alert_seconds."""
    run(ALERT_STALE_UNKNOWN, (settings_now().execution.unknown_alert_seconds,))


def resolve_stuck() -> None:
    """Look up market orders that should have ended; then cancel them or alert on them.

    Also alerts on cancels and changes without an answer, and on exits that wait too long for a
    comparison.
    """
    run(HANDLE_STUCK)
    times = {
        "stuck": settings_now().execution.stuck_seconds,
        "answer": settings_now().execution.stuck_answer_seconds,
    }
    run(LOOK_UP_STUCK, times)
    run(ALERT_UNANSWERED_CANCELS, {"tries": UNANSWERED_CANCELS, "seconds": UNANSWERED_SECONDS})
    run(ALERT_OPEN_CHANGES, {"seconds": CHANGE_SECONDS})
    run(ALERT_AWAITED_COMPARISONS, {"seconds": COMPARISON_SECONDS})
