"""Fan-out: write one order row for each candidate of a signal, in the publish transaction.

One INSERT … SELECT writes all candidates. Those that may not trade are SKIPPED with a code, so that
every candidate is accounted for. An obstacle that will pass (a broker that does not answer, a
comparison that is due) makes the entry wait as PENDING with its code. The entry of a route is
skipped only for what stops all its accounts; the claim chooses one that may trade.

Entries by hand come before those of feeds, and these by the priority class of their subscription.
Within a class the order of the accounts rotates from signal to signal (`rotation_of`), so that none
is always last: order ids follow both, and bundles, queues and the claim follow the ids. Rows are
still inserted by connection id, the order in which all code locks them.

MODIFY and CLOSE reach every account with a live order or position of the signal that they refer to,
even if it no longer subscribes.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection as database

from common.reason_codes import Code
from common.sql import IdRow, Query, array, rows, run
from connections import eligibility
from connections.models import PriorityClass
from connections.selectors import connection_join_sql, not_twin_sql
from connections.session_lanes import HELD_LANES_SQL
from execution import signal_changes, signal_outcomes
from execution.base.rotation import rotation_of
from execution.base.statements import (
    event_rows_sql,
    insert_events_sql,
    insert_log_sql,
    log_rows_sql,
    position_log_rows_sql,
    refusal_payload_sql,
)
from execution.exits import orders as exits
from execution.exits.partial_closes import remember_partial_close
from execution.models import BY_HAND_PRIORITY, FEED_PRIORITY, may_move_sql
from execution.modify_lines import write_modify_lines
from execution.order_ends import move_ends
from execution.passed_entries import cancel_passed_entries
from execution.waiting_stops import drop_waiting_stops
from positions.broker_levels import MOVE_LEVELS_SQL
from positions.condition_exits import MOVE_CONDITION_SQL
from positions.time_exits import MOVE_CLOSE_TIME_SQL
from signals.models import LIMITED, TRIGGERED, Action, Origin, Signal
from users.tenancy import for_all_tenants


@dataclass(frozen=True, slots=True)
class FanOut:
    """What a publication wrote. The caller enqueues the ids after the commit.

    candidates: without paper twins, whose orders are written like all others.
    """

    candidates: int
    order_ids: list[int] = field(default_factory=list)
    cancel_ids: list[int] = field(default_factory=list)  # orders with a pending action
    changes_orders: bool = False  # changes of orders wait
    position_ids: list[int] = field(default_factory=list)  # levels moved
    lanes: Mapping[int, str] = field(
        default_factory=dict
    )  # by order id; only orders in a session lane
    priorities: Mapping[int, int] = field(default_factory=dict)  # of entries, by order id


class _WrittenEntry(NamedTuple):
    """is_ready: it may be executed at once. is_twin: of the paper twin of a subscription."""

    id: int
    is_ready: bool
    priority: int
    is_twin: bool


class _AccountCount(NamedTuple):
    accounts: int


class _Withdrawn(NamedTuple):
    id: int
    connection_id: UUID
    pending_action: str


class _UnfilledEntry(NamedTuple):
    id: int
    connection_id: UUID
    status: str


class _MovedPosition(NamedTuple):
    id: int
    connection_id: UUID


class _OrderLane(NamedTuple):
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
    _WrittenEntry,
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
    _Withdrawn,
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
    _AccountCount,
    f"""
SELECT count(*)::int AS accounts FROM unnest(%s::uuid[]) AS a (id) WHERE {not_twin_sql("a.id")}
""",
)

# Applying a fill locks the order's row too. So either the next statements see the position, or the
# transaction that opens it sees this MODIFY or CLOSE. An order that has ended may get a late fill,
# and of one that has filled a part may still have to be closed.
LOCK_UNFILLED = Query(
    _UnfilledEntry,
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
    _MovedPosition,
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
    _MovedPosition,
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
    _MovedPosition,
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
    _OrderLane,
    f"""
SELECT o.id, c.lane FROM execution_order o
{connection_join_sql("o.connection_id")}
WHERE o.id = ANY(%s::bigint[]) AND c.lane = ANY(%s::text[])
""",
)

LIVE = ["PENDING", "SUBMITTING", "UNKNOWN", "SUBMITTED", "PARTIALLY_FILLED", "CANCEL_REQUESTED"]


def fan_out(signal: Signal) -> FanOut:
    """Write the orders of all candidates of a signal and store their number.

    Call it in the transaction that publishes; raises RuntimeError outside of a transaction.
    """
    if not database.in_atomic_block:
        raise RuntimeError("call fan_out inside the publish transaction")
    writers = {Action.OPEN: _open, Action.CLOSE: _close, Action.MODIFY: _modify}
    with for_all_tenants():
        result = writers[Action(signal.action)](signal)
        # Read here: after the commit a tenant's session does not see the rows of others.
        result = replace(result, lanes=lanes_of(result.order_ids))
        run(
            signal_outcomes.COUNT_CANDIDATES,
            {"candidates": result.candidates, "signal_id": signal.pk},
        )
    signal.candidate_count = result.candidates
    return result


def _open(signal: Signal) -> FanOut:
    parameters = entry_parameters(
        signal,
        at=signal.published_at,
        reaches_admins=signal.reaches_admins,
        owner_only=signal.owner_only,
    )
    written = rows(INSERT_ENTRIES, {**parameters, "rotation": rotation_of(signal.pk)})
    ready = {row.id: row.priority for row in written if row.is_ready}
    candidates = sum(not row.is_twin for row in written)
    return FanOut(candidates, list(ready), priorities=ready)


def entry_parameters(
    signal: Signal, *, at: datetime | None, reaches_admins: bool, owner_only: bool
) -> dict[str, Any]:
    """Return the parameters of ENTRIES for a signal.

    at: the market time of its publication. reaches_admins, owner_only: the connections that its
    approval covers.
    """
    return {
        **eligibility.eligibility_parameters(
            feed_id=signal.feed_id,
            direction=signal.direction,
            pair=signal.currency_pair,
            at=at,
            reaches_admins=reaches_admins,
            only_owner=signal.feed.owner_id if owner_only else None,
        ),
        "signal_id": signal.pk,
        "oco_group": signal.oco_group,
        "has_condition": signal.has_condition,
        "has_exit_condition": signal.close_when_signal_id is not None,
        "by_hand": signal.origin == Origin.HAND,
        "order_type": signal.order_type,
        "time_in_force": signal.time_in_force,
        "limit_price": signal.open_price if signal.order_type in LIMITED else None,
        "stop_price": signal.stop_price if signal.order_type in TRIGGERED else None,
    }


def _close(signal: Signal) -> FanOut:
    opened = signal.refers_to
    assert opened is not None  # the constraint `follower_refers`
    _lock_unfilled(opened)
    unfilled: list[_Withdrawn] = []
    connections: set[UUID] = set()
    if signal.close_fraction == 1:
        unfilled = _withdraw(opened, signal.pk, "CLOSE", Code.CLOSED_BEFORE_SENT)
    else:
        connections = remember_partial_close(
            refers_to=opened.pk, fraction=signal.close_fraction, signal_id=signal.pk
        )
    closing = exits.close_all_of_signal(
        refers_to=signal.refers_to_id, fraction=signal.close_fraction, signal_id=signal.pk
    )
    connections |= {row.connection_id for row in unfilled} | {x.connection_id for x in closing}
    return FanOut(
        _count(connections),
        [x.order_id for x in closing],
        cancel_ids=[row.id for row in unfilled if row.pending_action],
    )


def _modify(signal: Signal) -> FanOut:
    locked = signal_changes.lock_accounts_of(signal)
    unfilled = rows(LOCK_UNFILLED, (signal.refers_to_id,))
    waiting = [row for row in unfilled if row.status in LIVE]
    write_modify_lines(signal)
    _drop_own_levels(signal)
    drop_waiting_stops(signal)
    signal_changes.change_entries(signal, locked)
    move_ends(signal)
    timed = [*_move_close_time(signal), *_move_exit_condition(signal)]
    moved, passed = list[_MovedPosition](), list[int]()
    if _has_levels(signal):
        passed = cancel_passed_entries([row.id for row in unfilled], by=signal.number)
        moved = _move_levels(signal)
    connections = {row.connection_id for row in (*timed, *moved)}
    connections |= {row.connection_id for row in waiting}
    return FanOut(
        _count(connections),
        cancel_ids=passed,
        position_ids=[row.id for row in moved],
        changes_orders=bool(waiting)
        and (signal_changes.has_price(signal) or signal.valid_until is not None),
    )


def _count(connections: Collection[UUID]) -> int:
    """Return how many accounts these are, without paper twins."""
    return rows(COUNT, (array(connections),))[0].accounts if connections else 0


def _has_levels(signal: Signal) -> bool:
    """Return whether a MODIFY moves the stop or the targets."""
    return signal.sl is not None or bool(signal.target_prices)


def _drop_own_levels(signal: Signal) -> None:
    """Let the levels of a MODIFY count for its entries, also where a person had set others."""
    parameters = {
        "refers_to": signal.refers_to_id,
        "sl": signal.sl is not None,
        "targets": bool(signal.target_prices),
    }
    if _has_levels(signal):
        run(DROP_OWN_LEVELS, parameters)


def _move_levels(signal: Signal) -> list[_MovedPosition]:
    return rows(
        MOVE_LEVELS,
        {
            "sl": signal.sl,
            "targets": list(signal.target_prices),
            "refers_to": signal.refers_to_id,
            "signal_id": signal.pk,
        },
    )


def _move_close_time(signal: Signal) -> list[_MovedPosition]:
    """Give the open positions of a signal the closing time of its MODIFY, if it has one."""
    if signal.close_at is None:
        return []
    parameters = {
        "close_at": signal.close_at, "refers_to": signal.refers_to_id, "signal_id": signal.pk,
    }  # fmt: skip
    return rows(MOVE_CLOSE_TIME, parameters)


def _move_exit_condition(signal: Signal) -> list[_MovedPosition]:
    """Give entries and open positions of a signal the condition of its MODIFY, if it has one."""
    if signal.close_when_signal_id is None:
        return []
    run(SET_EXIT_CONDITION, (signal.refers_to_id,))
    parameters = {
        "other": signal.close_when_signal_id,
        "state": signal.close_when_state,
        "refers_to": signal.refers_to_id,
        "signal_id": signal.pk,
        "text": signal.exit_condition_text,
    }
    return rows(MOVE_EXIT_CONDITION, parameters)


def lanes_of(order_ids: Sequence[int]) -> dict[int, str]:
    """Return the lanes of these orders, by order id; only lanes that a process holds.

    No process takes messages for other lanes. Without session lanes this costs one small query.
    """
    held = [row.lane for row in rows(HELD_LANES_SQL)] if order_ids else []
    if not held:
        return {}
    return {row.id: row.lane for row in rows(LANES_OF, (array(order_ids), array(held)))}


def withdraw(signal: Signal) -> list[int]:
    """Cancel the unfilled entries of a cancelled signal; return the orders with a pending action.

    Unsent entries become CANCELLED at once; for the others a cancellation at the broker is
    requested. Positions stay open.
    """
    with for_all_tenants():
        _lock_unfilled(signal)  # slices that a claim writes meanwhile are seen below
        moved = _withdraw(signal, signal.pk, "CANCEL", Code.SIGNAL_CANCELLED)
    return [row.id for row in moved if row.pending_action]


def _lock_unfilled(opened: Signal) -> None:
    """Lock the unfilled orders of a signal: of an OCO pair both legs, in the order of their ids."""
    if opened.oco_group is not None:
        rows(LOCK_PAIRS, (opened.oco_group,))
    rows(LOCK_UNFILLED, (opened.pk,))


def _withdraw(opened: Signal, signal_id: int, pending_action: str, code: Code) -> list[_Withdrawn]:
    parameters = {
        "refers_to": opened.pk,
        "oco_group": opened.oco_group,
        "signal_id": signal_id,
        "pending_action": pending_action,
        "code": code.value,
        "live": LIVE,
    }
    return rows(WITHDRAW, parameters)
