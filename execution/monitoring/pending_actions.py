"""Pending actions: cancels and closes of orders.

Level changes are in `level_sync.py`, changes of working orders in `entry_changes.py`.

An action stays on its row until it is done, so a crash at any point only delays it. A process
claims the row for as long as the call may take and does not wait for the answer; the answer is
stored by `apply_reports`. A request without an answer is repeated with a growing pause.
"""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

import structlog
from django.db import DatabaseError, transaction

from brokers.types import CancelRequest, OrderReport
from common.db.sql import IdRow, Query, kept_plans, rows, run
from common.failpoints import failpoint
from common.reason_codes import Code
from connections.selectors import (
    CLOSING_HALTS_SQL,
    CLOSING_PAUSES_SQL,
    SPEC_COLUMNS,
    LaneAccount,
    connection_join_sql,
)
from connections.session_lanes import held_lanes_parameters, in_held_lanes_sql
from execution.base.statements import AT_BROKER_SQL, LOCK_ORDERS, is_partly_known_sql, sent_as_sql
from execution.dispatch.background_calls import BackgroundCall, CallResult, send_deadline
from execution.dispatch.call_results import run_atomically, write_results
from execution.dispatch.report_writer import apply_call_reports
from execution.exits.legs import BY_HAND, KILL_SWITCH, LOSS_LIMIT, SIGNAL
from execution.exits.orders import ExitRequest, open_exits
from execution.exits.partial_closes import close_remembered_parts
from execution.exits.reservations import recompute_reserved
from execution.models import AT_BROKER, IN_FLIGHT, TERMINAL, PendingAction
from execution.monitoring.entry_changes import sync_entry_changes
from execution.monitoring.freeze import hold_frozen_cancels
from execution.monitoring.halt_actions import carry_out_halts
from execution.monitoring.level_sync import sync_levels
from execution.reports.row_locks import free_orders
from execution.runtime import trading_runtime
from execution.runtime.broker_queries import send_cancel
from execution.submission.route_writes import end_routes
from signals.joins import is_of_feed_sql, is_of_pair_sql, newest_close_sql

log = structlog.get_logger(__name__)

# Seconds until the next request: 5, 10, 20, then 30. `pending_action_attempts` is read before this
# request is counted.
CANCEL_BACKOFF = "least(30, 5 * power(2, least(pending_action_attempts, 9)))"


class PendingActionRow(NamedTuple):
    """An order with a pending action. free: what its position has open and not reserved. close_id:
    of a pending CLOSE the signal that requests it, if one does. closer: how the leg of its exit
    begins if no signal requests it."""

    id: int
    status: str
    pending_action: str
    filled_quantity: Decimal
    position_id: int | None
    free: Decimal
    is_partly_known: bool
    close_id: int | None
    closer: str


@dataclass(frozen=True, slots=True)
class CancelRow(LaneAccount):
    """An order to cancel, with its connection."""

    id: int
    client_order_id: str
    broker_order_id: str
    symbol: str


# The oldest due first, since actions on orders without an outcome become due repeatedly. Only the
# process that holds the lane may call the broker; other actions need no call.
LOCK = Query(
    IdRow,
    f"""
SELECT id FROM execution_order WHERE pending_action <> '' AND due_at <= statement_timestamp()
  AND (status <> ALL({AT_BROKER_SQL}) OR {in_held_lanes_sql("connection_id")})
ORDER BY due_at LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED
""",
)

_IS_HALTED = f"""CASE k.scope WHEN 'ALL' THEN true
      WHEN 'CONNECTION' THEN k.connection_id = o.connection_id
      WHEN 'FEED' THEN {is_of_feed_sql("o.signal_id", "k.feed_id")}
      ELSE o.pair = k.pair OR {is_of_pair_sql("o.signal_id", "k.pair")} END"""
# A separate statement: a join in LOCK would return the position as it was before a parallel fill.
LOAD = Query(
    PendingActionRow,
    f"""
SELECT o.id, o.status, o.pending_action, o.filled_quantity, p.id AS position_id,
  coalesce(p.quantity - p.reserved, 0) AS free, {is_partly_known_sql("o")} AS is_partly_known,
  CASE WHEN o.pending_action = 'CLOSE'
    THEN {newest_close_sql("o.signal_id", of_a_part=False)} END AS close_id,
  CASE WHEN o.pending_action <> 'CLOSE' THEN ''
    WHEN EXISTS (SELECT FROM ({CLOSING_HALTS_SQL}) k WHERE {_IS_HALTED}) THEN '{KILL_SWITCH}'
    WHEN EXISTS (SELECT FROM ({CLOSING_PAUSES_SQL}) t WHERE t.connection_id = o.connection_id
      AND (t.feed_id IS NULL OR {is_of_feed_sql("o.signal_id", "t.feed_id")})) THEN '{LOSS_LIMIT}'
    ELSE '{BY_HAND}' END AS closer
FROM execution_order o
LEFT JOIN positions_executionposition p
  ON o.position_id IS NULL AND p.connection_id = o.connection_id AND p.signal_id = o.signal_id
  AND p.entry_leg = o.position_leg
WHERE o.id = ANY(%s) ORDER BY o.id
""",
)

# An order without an outcome cannot be cancelled; storing its outcome makes the action due again.
# What the look-up of an ended one finds is closed, too.
WAIT_FOR_OUTCOME = """
UPDATE execution_order SET due_at = clock_timestamp()
  + CASE status WHEN 'SUBMITTING' THEN interval '1 second' ELSE interval '10 seconds' END
WHERE id = ANY(%s)
"""

END_ACTIONS = """
UPDATE execution_order SET pending_action = '', pending_action_attempts = 0,
  pending_action_since = NULL
WHERE id = ANY(%s)
"""

CANCEL_UNSENT = f"""
WITH moved AS (
  UPDATE execution_order SET status = 'CANCELLED', pending_action = '', fence = fence + 1,
    pending_action_since = NULL, pending_action_attempts = 0,
    reason = CASE pending_action WHEN 'CLOSE' THEN '{Code.CLOSED_BEFORE_SENT.value}'
      WHEN 'EXPIRE' THEN '{Code.SIGNAL_EXPIRED.value}'
      WHEN 'PASSED' THEN '{Code.LEVEL_PAST_ENTRY.value}'
      ELSE '{Code.OWNER_CANCELLED.value}' END, done_at = clock_timestamp()
  WHERE id = ANY(%s) AND status = 'PENDING'
  RETURNING id, signal_id, connection_id, reason
)
INSERT INTO execution_executionlog (order_id, signal_id, connection_id, code, status)
SELECT id, signal_id, connection_id, reason, 'CANCELLED' FROM moved
"""

# Claimed for as long as the call may take. The call's result shows whether a request was made.
CLAIM_CANCEL = Query(
    CancelRow,
    f"""
WITH claimed AS (
  UPDATE execution_order SET due_at = clock_timestamp() + make_interval(secs => %s),
    pending_action_since = coalesce(pending_action_since, clock_timestamp()),
    reason = CASE reason WHEN 'LEVELS_FROZEN' THEN '' ELSE reason END,
    detail = CASE reason WHEN 'LEVELS_FROZEN' THEN '' ELSE detail END,
    waiting_since = CASE reason WHEN 'LEVELS_FROZEN' THEN NULL ELSE waiting_since END
  WHERE id = ANY(%s)
  RETURNING id, connection_id, {sent_as_sql("execution_order")} AS client_order_id,
    broker_order_id, symbol
)
SELECT m.*, {SPEC_COLUMNS}, c.broker_host, c.lane
FROM claimed m {connection_join_sql("m.connection_id")}
""",
)

# A request was made, or may have been. Stored before the answer, which may end the order. After two
# requests without effect the order is looked up: the report of its end may have been lost.
CANCEL_REQUESTED = f"""
WITH moved AS (
  UPDATE execution_order SET
    status = CASE WHEN pending_action <> '' AND status IN ('SUBMITTED', 'PARTIALLY_FILLED')
      THEN 'CANCEL_REQUESTED' ELSE status END,
    pending_action_attempts = CASE WHEN pending_action <> ''
      THEN least(pending_action_attempts + 1, 100) ELSE pending_action_attempts END,
    lookup_after = CASE WHEN pending_action <> '' AND done_at IS NULL
      AND pending_action_attempts >= 2
      THEN clock_timestamp() ELSE lookup_after END,
    due_at = CASE WHEN pending_action = '' THEN due_at WHEN done_at IS NOT NULL
      THEN clock_timestamp()
      ELSE clock_timestamp() + make_interval(secs => {CANCEL_BACKOFF}) END
  WHERE id IN (SELECT id FROM execution_order WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE)
  RETURNING id, signal_id, connection_id, status
)
INSERT INTO execution_executionlog (order_id, signal_id, connection_id, code, status)
SELECT id, signal_id, connection_id, '{Code.CANCEL_REQUESTED.value}', status FROM moved
"""


def _deferred(seconds: str) -> str:
    """Return the statement for cancels that were not requested: not counted, due again later."""
    return f"""
UPDATE execution_order SET due_at = clock_timestamp() + CASE WHEN done_at IS NOT NULL
  THEN interval '0' ELSE make_interval(secs => {seconds}) END
WHERE id IN (SELECT id FROM execution_order WHERE id = ANY(%s) AND pending_action <> ''
  ORDER BY id FOR NO KEY UPDATE)
"""


# Certainly not sent (no session, too late, over a limit): again after 5 s, later every 30 s.
CANCEL_NOT_SENT = _deferred(
    "least(30, greatest(5, 0.5 * extract(epoch FROM clock_timestamp() - pending_action_since)))"
)
# There was no free slot for the call.
CANCEL_NOT_STARTED = _deferred("1 + random()")


def process_pending_actions() -> list[int]:
    """Finish the actions that need no broker and start calls for the others.

    First, halts that cancel or close write their actions, and parts of entries that have filled
    since their CLOSE get their exits.

    Returns ids of exits to enqueue. Does not wait for brokers.
    """
    background_calls = trading_runtime.get_runtime().dispatcher.background_calls
    send_by = send_deadline()
    written = [*_isolated(carry_out_halts), *_isolated(close_remembered_parts)]
    with transaction.atomic(), kept_plans():
        locked = rows(LOCK, held_lanes_parameters(), planned_once=True)
        pending = rows(LOAD, ([row.id for row in locked],)) if locked else []
        exits = _end_finished(pending)
        cancels = _claim_cancels(pending, background_calls.max_seconds())
    if cancels:
        failpoint("pending_actions.committed")
    background_calls.start(
        [
            BackgroundCall(
                ("cancel", row.id), row, partial(_cancel, row, send_by), _write_cancel_results
            )
            for row in cancels
        ]
    )
    sync_levels()
    sync_entry_changes()
    return [*written, *exits]


def _isolated(step: Callable[[], list[int]]) -> list[int]:
    """Return the exits that a step has written. One that fails is logged and tried again with the
    next round: it must not hold up the cancels of all accounts."""
    try:
        return step()
    except DatabaseError as error:
        log.exception("step failed", step=step.__name__, error=str(error))
        return []


def _write_cancel_results(done: Sequence[CallResult]) -> None:
    """Store which cancels were requested, then what brokers reported."""
    failpoint("pending_actions.answered")
    blocked = write_results(done, _count_cancels, free_orders)
    apply_call_reports(done, expect_locks=blocked)


def _count_cancels(done: Sequence[CallResult]) -> None:
    requested = [result.about.id for result in done if result.may_have_been_sent]
    unsent = [
        result.about.id for result in done if result.had_slot and not result.may_have_been_sent
    ]
    not_started = [result.about.id for result in done if not result.had_slot]
    run_atomically(
        [
            (CANCEL_REQUESTED, requested),
            (CANCEL_NOT_SENT, unsent),
            (CANCEL_NOT_STARTED, not_started),
        ],
        LOCK_ORDERS,
    )


def _end_finished(pending: Sequence[PendingActionRow]) -> list[int]:
    """End actions on orders that have ended or were never sent; return exits for what filled."""
    ended = [row for row in pending if row.status in TERMINAL]
    exits = open_exits(
        [
            ExitRequest(
                row.position_id, SIGNAL if row.close_id else row.closer, signal_id=row.close_id
            )
            for row in ended
            if row.position_id is not None and row.pending_action == "CLOSE" and row.free > 0
        ]
    )
    # Cancelled while it was being sent: the next account of its route does not get it either.
    failed: dict[Code, list[int]] = {}
    for row in ended:
        if row.status == "FAILED":
            passed = row.pending_action == PendingAction.PASSED
            code = Code.LEVEL_PAST_ENTRY if passed else Code.OWNER_CANCELLED
            failed.setdefault(code, []).append(row.id)
    for code, ids in failed.items():
        end_routes(ids, detail="", code=code)
    looked_up = {row.id for row in ended if row.is_partly_known and row.pending_action == "CLOSE"}
    if settled := [row.id for row in ended if row.id not in looked_up]:
        run(END_ACTIONS, (settled,))
    if unsent := [row.id for row in pending if row.status == "PENDING"]:
        run(CANCEL_UNSENT, (unsent,))
        recompute_reserved(unsent)
    if waiting := [r.id for r in pending if r.status in IN_FLIGHT or r.id in looked_up]:
        run(WAIT_FOR_OUTCOME, (waiting,))
    return [exit_.order_id for exit_ in exits]


def _claim_cancels(pending: Sequence[PendingActionRow], claimed_for: float) -> list[CancelRow]:
    ids = [row.id for row in pending if row.status in AT_BROKER]
    frozen = hold_frozen_cancels(ids)
    ids = [order_id for order_id in ids if order_id not in frozen]
    return rows(CLAIM_CANCEL, (claimed_for, ids)) if ids else []


def _cancel(row: CancelRow, send_by: float) -> Coroutine[Any, Any, list[OrderReport]]:
    request = CancelRequest(row.client_order_id, row.broker_order_id, row.symbol)
    return send_cancel(row, request, send_by)
