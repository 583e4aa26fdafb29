"""The statements of the fan-out: they write, withdraw and move the rows of all accounts at once."""

from typing import NamedTuple
from uuid import UUID

from common.db.sql import IdRow, Query
from common.reason_codes import Code
from connections import eligibility
from connections.models import PriorityClass
from connections.selectors import connection_join_sql, not_twin_sql
from execution.base.statements import (
    event_rows_sql,
    insert_events_sql,
    insert_log_sql,
    log_rows_sql,
    position_log_rows_sql,
    refusal_payload_sql,
)
from execution.models import BY_HAND_PRIORITY, FEED_PRIORITY, may_move_sql
from positions.broker_levels import MOVE_LEVELS_SQL
from positions.condition_exits import MOVE_CONDITION_SQL
from positions.time_exits import MOVE_CLOSE_TIME_SQL


class WrittenEntry(NamedTuple):
    """is_ready: it may be executed at once. is_twin: of the paper twin of a subscription."""

    id: int
    is_ready: bool
    priority: int
    is_twin: bool


class AccountCount(NamedTuple):
    accounts: int


class Withdrawn(NamedTuple):
    id: int
    connection_id: UUID
    pending_action: str


class UnfilledEntry(NamedTuple):
    id: int
    connection_id: UUID
    status: str


class MovedPosition(NamedTuple):
    id: int
    connection_id: UUID


class OrderLane(NamedTuple):
    id: int
    lane: str


# An event ends most waits (`deferral.wake`). After this time an order is decided again anyway: an
# event during this transaction did not see the order.
WAITING_SECONDS = 5

_PAUSED = f"{{{','.join(code.value for code in eligibility.PAUSE_REASONS)}}}"

# The legs of an OCO pair stay on the account that subscribes: routes could send both.
_IS_ROUTED = "(%(oco_group)s::uuid IS NULL AND coalesce(s.route_policy <> '', false))"

# The order rows of all candidates. `INSERT_ENTRIES` writes them; a preview only reads them.
ENTRIES = f"""
candidates AS (
  SELECT c.id, s.id AS subscription_id, {_IS_ROUTED} AS is_routed,
    {eligibility.reason_sql(is_routed=_IS_ROUTED)} AS reason,
    CASE WHEN %(by_hand)s THEN {BY_HAND_PRIORITY}
      ELSE {FEED_PRIORITY} + coalesce(s.priority, {PriorityClass.NORMAL.value}) END AS priority,
    {eligibility.TRADED_PAIR_SQL} AS pair
  FROM {eligibility.CANDIDATES_SQL}
), classified AS (
  SELECT id, subscription_id, is_routed, reason, priority, pair,
    CASE WHEN reason IS NULL THEN 'READY'
      WHEN reason = ANY(%(temporary_reasons)s::text[]) THEN 'WAITING' ELSE 'SKIPPED' END AS outcome
  FROM candidates
), entries AS (
  SELECT %(signal_id)s::bigint AS signal_id, id AS connection_id, 'entry' AS leg,
    priority, pair, %(direction)s::text AS side,
    %(order_type)s::text AS order_type, %(time_in_force)s::text AS time_in_force,
    %(limit_price)s::numeric AS limit_price, %(stop_price)s::numeric AS stop_price,
    CASE outcome WHEN 'SKIPPED' THEN outcome ELSE 'PENDING' END AS status,
    coalesce(reason, '') AS reason,
    CASE WHEN reason = ANY('{_PAUSED}'::text[])
      THEN {
    eligibility.pause_detail_sql(
        "classified.id", "classified.subscription_id", is_routed="classified.is_routed"
    )
}
      ELSE '' END AS detail,
    CASE WHEN outcome = 'READY' THEN statement_timestamp()
      WHEN outcome = 'WAITING' THEN statement_timestamp() + interval '{WAITING_SECONDS} seconds'
    END AS due_at,
    CASE WHEN outcome <> 'SKIPPED' THEN statement_timestamp() END AS enqueued_at,
    CASE outcome WHEN 'WAITING' THEN statement_timestamp() END AS waiting_since,
    CASE outcome WHEN 'SKIPPED' THEN statement_timestamp() END AS done_at,
    CASE WHEN is_routed THEN id END AS routed_from_id,
    CASE WHEN is_routed THEN 'OPEN' ELSE '' END AS route_state, %(oco_group)s::uuid AS oco_group,
    %(has_condition)s::boolean AND outcome <> 'SKIPPED' AS awaits_condition,
    %(has_exit_condition)s::boolean AND outcome <> 'SKIPPED' AS has_exit_condition
  FROM classified
)"""

# Only skipped entries of paused accounts have figures.
_NUMBERS = f"""CASE WHEN m.reason = ANY('{_PAUSED}'::text[])
  THEN {eligibility.pause_numbers_sql("m")} ELSE jsonb_build_object() END"""
_CREATED = log_rows_sql(
    "written m",
    code=f"coalesce(nullif(m.reason, ''), '{Code.CREATED.value}')",
    signal_id="%(signal_id)s",
    detail="m.detail",
    numbers=_NUMBERS,
)
_SKIPPED = event_rows_sql(
    "written m",
    kind="'order.skipped'",
    payload=refusal_payload_sql("m.reason", "m.detail", _NUMBERS),
    signal_id="%(signal_id)s",
    where="m.status = 'SKIPPED'",
)
_WITHDRAWN = log_rows_sql(
    "moved m", code="%(code)s", signal_id="%(signal_id)s", where="m.status = 'CANCELLED'"
)

_LEVELS_MOVED = position_log_rows_sql(
    "moved m",
    code=f"'{Code.LEVELS_MOVED.value}'",
    detail="'position ' || m.id",
    signal_id="%(signal_id)s",
)

INSERT_ENTRIES = Query(
    WrittenEntry,
    f"""
WITH {ENTRIES}, ranked AS (
  SELECT *, row_number() OVER (PARTITION BY priority ORDER BY connection_id) - 1 AS rank,
    count(*) OVER (PARTITION BY priority) AS total
  FROM entries
), numbered AS MATERIALIZED (
  SELECT *, nextval(pg_get_serial_sequence('execution_order', 'id')) AS order_id
  FROM (SELECT * FROM ranked
    ORDER BY priority, (rank + total - (%(rotation)s::bigint * total >> 32)) %% total) rotated
), written AS (
  INSERT INTO execution_order (id, signal_id, connection_id, leg, priority, pair, side, order_type,
    time_in_force, limit_price, stop_price, status, reason, detail, due_at, enqueued_at,
    waiting_since, done_at, routed_from_id, route_state, oco_group, awaits_condition,
    has_exit_condition)
  SELECT order_id, signal_id, connection_id, leg, priority, pair, side, order_type,
    time_in_force, limit_price, stop_price, status, reason, detail, due_at, enqueued_at,
    waiting_since, done_at, routed_from_id, route_state, oco_group, awaits_condition,
    has_exit_condition
  FROM numbered ORDER BY connection_id
  RETURNING id, connection_id, status, reason, detail, priority
), logged AS (
  {insert_log_sql(_CREATED)}
), notified AS (
  {insert_events_sql(_SKIPPED)}
)
SELECT id, status = 'PENDING' AND reason = '' AS is_ready, priority,
  NOT ({not_twin_sql("connection_id")}) AS is_twin
FROM written ORDER BY id
""",
)

WITHDRAW = Query(
    Withdrawn,
    f"""
WITH locked AS (
  SELECT id FROM execution_order
  WHERE signal_id = %(refers_to)s AND leg LIKE 'entry%%' AND status = ANY(%(live)s)
  ORDER BY id FOR NO KEY UPDATE
), other_legs AS (  -- of an OCO pair, where neither has fired; locked before
  SELECT id FROM execution_order
  WHERE oco_group = %(oco_group)s::uuid AND signal_id <> %(refers_to)s AND status = 'PENDING'
    AND NOT oco_fired
), moved AS (
  UPDATE execution_order o SET
    status = CASE WHEN o.status = 'PENDING' THEN 'CANCELLED' ELSE o.status END,
    reason = CASE WHEN o.status = 'PENDING' THEN %(code)s ELSE o.reason END,
    done_at = CASE WHEN o.status = 'PENDING' THEN clock_timestamp() ELSE o.done_at END,
    pending_action = CASE WHEN o.status = 'PENDING' THEN '' WHEN o.pending_action = 'CLOSE'
      THEN o.pending_action
      ELSE %(pending_action)s END,
    due_at = clock_timestamp()
  FROM (SELECT id FROM locked UNION ALL SELECT id FROM other_legs) l WHERE o.id = l.id
  RETURNING o.id, o.connection_id, o.status, o.pending_action
), logged AS (
  {insert_log_sql(_WITHDRAWN)}
)
SELECT id, connection_id, pending_action FROM moved
""",
)

COUNT = Query(
    AccountCount,
    f"""
SELECT count(*)::int AS accounts FROM unnest(%s::uuid[]) AS a (id) WHERE {not_twin_sql("a.id")}
""",
)

# Applying a fill locks the order's row too. So either the next statements see the position, or the
# transaction that opens it sees this MODIFY or CLOSE. An order that has ended may get a late fill,
# and of one that has filled a part may still have to be closed.
LOCK_UNFILLED = Query(
    UnfilledEntry,
    """
SELECT id, connection_id, status FROM execution_order
WHERE signal_id = %s AND leg LIKE 'entry%%'
  AND (status <> ALL('{FILLED, SKIPPED, DENIED}') OR close_fraction IS NOT NULL)
ORDER BY id FOR NO KEY UPDATE
""",
)

# Both legs of an OCO pair, before the orders of one: all code locks a pair in the order of its ids.
LOCK_PAIRS = Query(
    IdRow,
    """
SELECT id FROM execution_order WHERE oco_group = %s ORDER BY id FOR NO KEY UPDATE
""",
)

# The newer instruction counts: an entry's own levels give way to those of a MODIFY. Locked before.
DROP_OWN_LEVELS = """
UPDATE execution_order SET
  own_stop_loss = CASE WHEN %(sl)s THEN NULL ELSE own_stop_loss END,
  own_take_profit = CASE WHEN %(targets)s THEN NULL ELSE own_take_profit END
WHERE signal_id = %(refers_to)s AND leg LIKE 'entry%%'
  AND status <> ALL('{FILLED, SKIPPED, DENIED}')
  AND (%(sl)s AND own_stop_loss IS NOT NULL OR %(targets)s AND own_take_profit IS NOT NULL)
"""

MOVE_LEVELS = Query(
    MovedPosition,
    f"""
{MOVE_LEVELS_SQL}, logged AS (
  {insert_log_sql(_LEVELS_MOVED)}
)
SELECT id, connection_id FROM moved
""",
)

_TIME_MOVED = position_log_rows_sql(
    "timed m",
    code=f"'{Code.CLOSE_TIME_MOVED.value}'",
    detail="'position ' || m.id || ': ' || %(close_at)s::timestamptz",
    signal_id="%(signal_id)s",
)
MOVE_CLOSE_TIME = Query(
    MovedPosition,
    f"""
{MOVE_CLOSE_TIME_SQL}, logged AS (
  {insert_log_sql(_TIME_MOVED)}
)
SELECT id, connection_id FROM timed
""",
)

# The entries are locked. Those that have ended may get a late fill: its position is judged.
SET_EXIT_CONDITION = f"""
UPDATE execution_order o SET has_exit_condition = true
WHERE signal_id = %s AND leg LIKE 'entry%%' AND (done_at IS NULL OR {may_move_sql("o")})
  AND NOT has_exit_condition
"""
MOVE_EXIT_CONDITION = Query(
    MovedPosition,
    f"""
{MOVE_CONDITION_SQL}, logged AS (
  {
        insert_log_sql(
            position_log_rows_sql(
                "moved m",
                code=f"'{Code.EXIT_CONDITION_SET.value}'",
                detail="'position ' || m.id || ': ' || %(text)s",
                signal_id="%(signal_id)s",
            )
        )
    }
)
SELECT id, connection_id FROM moved
""",
)

LANES_OF = Query(
    OrderLane,
    f"""
SELECT o.id, c.lane FROM execution_order o
{connection_join_sql("o.connection_id")}
WHERE o.id = ANY(%s::bigint[]) AND c.lane = ANY(%s::text[])
""",
)

LIVE = ["PENDING", "SUBMITTING", "UNKNOWN", "SUBMITTED", "PARTIALLY_FILLED", "CANCEL_REQUESTED"]
