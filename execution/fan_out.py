"""Fan-out: write one order row for each candidate of a signal, in the publish transaction.

One INSERT … SELECT writes all candidates. Those that may not trade are SKIPPED with a code, so that
every candidate is accounted for. An obstacle that will pass (a broker that does not answer, a
comparison that is due) makes the entry wait as PENDING with its code.

The order of the accounts rotates from signal to signal (`rotation_of`), so that none is always
last: order ids follow it, and bundles, queues and the claim follow the ids. Rows are still inserted
by connection id, the order in which all code locks them.

MODIFY and CLOSE reach every account with a live order or position of the signal that they refer to,
even if it no longer subscribes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection as database

from common.reason_codes import Code
from common.sql import Query, array, rows, run
from connections import eligibility
from connections.selectors import connection_join_sql
from connections.session_lanes import HELD_LANES_SQL
from execution import signal_outcomes
from execution.base.statements import (
    event_rows_sql,
    insert_events_sql,
    insert_log_sql,
    log_rows_sql,
)
from execution.exits import orders as exits
from positions.broker_levels import MOVE_LEVELS_SQL
from signals.models import Action, Signal
from users.tenancy import for_all_tenants

ENTRY_PRIORITY = 5  # exits, written in exits/orders.py, have 1 and come first


@dataclass(frozen=True, slots=True)
class FanOut:
    """What a publication wrote. The caller enqueues the ids after the commit."""

    candidates: int
    order_ids: list[int] = field(default_factory=list)
    cancel_ids: list[int] = field(default_factory=list)  # orders with a pending action
    position_ids: list[int] = field(default_factory=list)  # levels moved
    lanes: Mapping[int, str] = field(
        default_factory=dict
    )  # by order id; only orders in a session lane


class _WrittenEntry(NamedTuple):
    """is_ready: it may be executed at once."""

    id: int
    is_ready: bool


class _Withdrawn(NamedTuple):
    id: int
    connection_id: UUID
    pending_action: str


class _UnfilledEntry(NamedTuple):
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

# The order rows of all candidates. `INSERT_ENTRIES` writes them; a preview only reads them.
ENTRIES = f"""
candidates AS (
  SELECT c.id, {eligibility.REASON_SQL} AS reason, {eligibility.TRADED_PAIR_SQL} AS pair
  FROM {eligibility.CANDIDATES_SQL}
), classified AS (
  SELECT id, reason, pair, CASE WHEN reason IS NULL THEN 'READY'
    WHEN reason = ANY(%(temporary_reasons)s::text[]) THEN 'WAITING' ELSE 'SKIPPED' END AS outcome
  FROM candidates
), entries AS (
  SELECT %(signal_id)s::bigint AS signal_id, id AS connection_id, 'entry' AS leg,
    {ENTRY_PRIORITY} AS priority, pair, %(direction)s::text AS side,
    %(order_type)s::text AS order_type, %(time_in_force)s::text AS time_in_force,
    %(limit_price)s::numeric AS limit_price, %(stop_price)s::numeric AS stop_price,
    CASE outcome WHEN 'SKIPPED' THEN outcome ELSE 'PENDING' END AS status,
    coalesce(reason, '') AS reason,
    CASE outcome WHEN 'READY' THEN statement_timestamp()
      WHEN 'WAITING' THEN statement_timestamp() + interval '{WAITING_SECONDS} seconds'
    END AS due_at,
    CASE WHEN outcome <> 'SKIPPED' THEN statement_timestamp() END AS enqueued_at,
    CASE outcome WHEN 'WAITING' THEN statement_timestamp() END AS waiting_since,
    CASE outcome WHEN 'SKIPPED' THEN statement_timestamp() END AS done_at
  FROM classified
)"""

_CREATED = log_rows_sql(
    "written m",
    code=f"coalesce(nullif(m.reason, ''), '{Code.CREATED.value}')",
    signal_id="%(signal_id)s",
)
_SKIPPED = event_rows_sql(
    "written m",
    kind="'order.skipped'",
    payload="jsonb_build_object('code', m.reason)",
    signal_id="%(signal_id)s",
    where="m.status = 'SKIPPED'",
)
_WITHDRAWN = log_rows_sql(
    "moved m", code="%(code)s", signal_id="%(signal_id)s", where="m.status = 'CANCELLED'"
)

_LEVELS_MOVED = log_rows_sql(
    "moved m",
    code=f"'{Code.LEVELS_MOVED.value}'",
    status="''",
    detail="'position ' || m.id",
    order_id="NULL::bigint",
    signal_id="%(signal_id)s",
)

INSERT_ENTRIES = Query(
    _WrittenEntry,
    f"""
WITH {ENTRIES}, ranked AS (
  SELECT *, row_number() OVER (ORDER BY connection_id) - 1 AS rank, count(*) OVER () AS total
  FROM entries
), numbered AS MATERIALIZED (
  SELECT *, nextval(pg_get_serial_sequence('execution_order', 'id')) AS order_id
  FROM (SELECT * FROM ranked
    ORDER BY (rank + total - (%(rotation)s::bigint * total >> 32)) %% total) rotated
), written AS (
  INSERT INTO execution_order (id, signal_id, connection_id, leg, priority, pair, side, order_type,
    time_in_force, limit_price, stop_price, status, reason, due_at, enqueued_at, waiting_since,
    done_at)
  SELECT order_id, signal_id, connection_id, leg, priority, pair, side, order_type,
    time_in_force, limit_price, stop_price, status, reason, due_at, enqueued_at, waiting_since,
    done_at
  FROM numbered ORDER BY connection_id
  RETURNING id, connection_id, status, reason
), logged AS (
  {insert_log_sql(_CREATED)}
), notified AS (
  {insert_events_sql(_SKIPPED)}
)
SELECT id, status = 'PENDING' AND reason = '' AS is_ready FROM written ORDER BY id
""",
)

WITHDRAW = Query(
    _Withdrawn,
    f"""
WITH locked AS (
  SELECT id FROM execution_order
  WHERE signal_id = %(refers_to)s AND leg LIKE 'entry%%' AND status = ANY(%(live)s)
  ORDER BY id FOR NO KEY UPDATE
), moved AS (
  UPDATE execution_order o SET
    status = CASE WHEN o.status = 'PENDING' THEN 'CANCELLED' ELSE o.status END,
    reason = CASE WHEN o.status = 'PENDING' THEN %(code)s ELSE o.reason END,
    done_at = CASE WHEN o.status = 'PENDING' THEN clock_timestamp() ELSE o.done_at END,
    pending_action = CASE WHEN o.status = 'PENDING' THEN '' WHEN o.pending_action = 'CLOSE'
      THEN o.pending_action
      ELSE %(pending_action)s END,
    due_at = clock_timestamp()
  FROM locked l WHERE o.id = l.id
  RETURNING o.id, o.connection_id, o.status, o.pending_action
), logged AS (
  {insert_log_sql(_WITHDRAWN)}
)
SELECT id, connection_id, pending_action FROM moved
""",
)

# Applying a fill locks the order's row too. So either the next statements see the position, or the
# transaction that opens it sees this MODIFY or CLOSE. An order that has ended may get a late fill.
LOCK_UNFILLED = Query(
    _UnfilledEntry,
    """
SELECT connection_id, status FROM execution_order
WHERE signal_id = %s AND leg LIKE 'entry%%' AND status <> ALL('{FILLED, SKIPPED, DENIED}')
ORDER BY id FOR NO KEY UPDATE
""",
)

MOVE_LEVELS = Query(
    _MovedPosition,
    f"""
{MOVE_LEVELS_SQL}, logged AS (
  {insert_log_sql(_LEVELS_MOVED)}
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
    return FanOut(len(written), [row.id for row in written if row.is_ready])


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
        "order_type": signal.order_type,
        "time_in_force": signal.time_in_force,
        "limit_price": signal.open_price if signal.order_type == "LIMIT" else None,
        "stop_price": signal.stop_price if signal.order_type == "STOP" else None,
    }


def rotation_of(signal_id: int) -> int:
    """Return where in the list of candidates a signal's orders begin, as a fraction of 2**32. Pure.

    Multiples of the golden ratio are spread evenly for any sequence of ids: over several signals
    each account is at the front as often as at the back. A signal always has the same rotation.
    """
    return signal_id * 0x9E3779B9 % 2**32


def _close(signal: Signal) -> FanOut:
    rows(LOCK_UNFILLED, (signal.refers_to_id,))
    unfilled: list[_Withdrawn] = []
    if signal.close_fraction == 1:  # a part of an unfilled entry cannot be closed
        unfilled = _withdraw(signal.refers_to_id, signal.pk, "CLOSE", Code.CLOSED_BEFORE_SENT)
    closing = exits.close_all_of_signal(
        refers_to=signal.refers_to_id, fraction=signal.close_fraction, signal_id=signal.pk
    )
    connections = {row.connection_id for row in unfilled} | {x.connection_id for x in closing}
    return FanOut(
        len(connections),
        [x.order_id for x in closing],
        cancel_ids=[row.id for row in unfilled if row.pending_action],
    )


def _modify(signal: Signal) -> FanOut:
    unfilled = rows(LOCK_UNFILLED, (signal.refers_to_id,))
    waiting = [row for row in unfilled if row.status in LIVE]
    moved = rows(
        MOVE_LEVELS,
        {
            "sl": signal.sl,
            "targets": list(signal.target_prices),
            "refers_to": signal.refers_to_id,
            "signal_id": signal.pk,
        },
    )
    connections = {row.connection_id for row in moved} | {row.connection_id for row in waiting}
    return FanOut(len(connections), position_ids=[row.id for row in moved])


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
        moved = _withdraw(signal.pk, signal.pk, "CANCEL", Code.SIGNAL_CANCELLED)
    return [row.id for row in moved if row.pending_action]


def _withdraw(
    refers_to: int | None, signal_id: int, pending_action: str, code: Code
) -> list[_Withdrawn]:
    parameters = {
        "refers_to": refers_to,
        "signal_id": signal_id,
        "pending_action": pending_action,
        "code": code.value,
        "live": LIVE,
    }
    return rows(WITHDRAW, parameters)
