"""What is wanted of orders and levels that the broker holds: cancels, closes, moved stops.

A wish stays on the row until it is granted, so that a kill at any point costs nothing but time. The
network is asked outside of transactions; what the broker answers comes in by apply_reports.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction

from brokers.base import CancelRequest, ModifyRequest, OrderReport, Rejected
from brokers.registry import adapter_for
from common.codes import Code
from common.faults import point
from common.sql import rows, run
from connections.selectors import spec_from_row
from execution import runtime
from execution.exits import ExitWish, open_exits
from execution.flusher import apply_or_halve
from execution.models import AT_BROKER, IN_FLIGHT, TERMINAL
from execution.reserve import balance, lock_positions

log = structlog.get_logger(__name__)
ASK_AGAIN_SECONDS = 5
AT_ONCE = 200

LOCK = """
SELECT id FROM execution_order WHERE wish <> '' AND due_at <= clock_timestamp()
ORDER BY id LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED
"""

# Its own statement: a join would show the order as it is and its position as it was before a fill.
WISHED = """
SELECT o.id, o.status, o.wish, o.filled_quantity, p.id AS position_id,
  coalesce(p.quantity - p.reserved, 0) AS free
FROM execution_order o
LEFT JOIN positions_executionposition p
  ON o.position_id IS NULL AND p.connection_id = o.connection_id AND p.signal_id = o.signal_id
WHERE o.id = ANY(%s) ORDER BY o.id
"""

CANCEL_UNSENT = f"""
WITH moved AS (
  UPDATE execution_order SET status = 'CANCELLED', wish = '', fence = fence + 1,
    reason = CASE wish WHEN 'CLOSE' THEN '{Code.CLOSED_BEFORE_SENT.value}'
      ELSE '{Code.OWNER_CANCELLED.value}' END, done_at = clock_timestamp()
  WHERE id = ANY(%s) AND status = 'PENDING'
  RETURNING id, signal_id, connection_id, reason
)
INSERT INTO execution_executionlog (order_id, signal_id, connection_id, code, status)
SELECT id, signal_id, connection_id, reason, 'CANCELLED' FROM moved
"""

ASK_CANCEL = f"""
WITH moved AS (
  UPDATE execution_order SET status = 'CANCEL_REQUESTED',
    due_at = clock_timestamp() + make_interval(secs => {ASK_AGAIN_SECONDS})
  WHERE id = ANY(%s)
  RETURNING id, signal_id, connection_id, client_order_id, broker_order_id, symbol
), logged AS (
  INSERT INTO execution_executionlog (order_id, signal_id, connection_id, code, status)
  SELECT id, signal_id, connection_id, '{Code.CANCEL_ASKED.value}', 'CANCEL_REQUESTED' FROM moved
)
SELECT m.*, c.type, c.account, c.exchange_name, c.settings, c.sealed_credentials,
  coalesce(c.user_id, c.admin_id) AS owner_id
FROM moved m JOIN connections_executionconnection c ON c.id = m.connection_id
"""

LEVELS = """
SELECT p.id, p.connection_id, p.symbol, p.broker_position_id, e.client_order_id,
  CASE WHEN p.sl_guardian = 'BROKER' THEN p.sl END AS sl,
  CASE WHEN p.tp_guardian = 'BROKER' THEN p.tp END AS tp,
  c.type, c.account, c.exchange_name, c.settings, c.sealed_credentials,
  coalesce(c.user_id, c.admin_id) AS owner_id
FROM positions_executionposition p
JOIN connections_executionconnection c ON c.id = p.connection_id
JOIN execution_order e ON e.connection_id = p.connection_id AND e.signal_id = p.signal_id
  AND e.leg = 'entry'
WHERE p.quantity > 0 AND (
  (p.sl_guardian = 'BROKER' AND p.sl IS DISTINCT FROM p.broker_sl)
  OR CASE WHEN p.tp_guardian = 'BROKER' THEN p.tp END IS DISTINCT FROM p.broker_tp)
ORDER BY p.id LIMIT 1000
"""

TAKE_OVER = f"""
WITH moved AS (
  UPDATE positions_executionposition SET touched_at = clock_timestamp(),
    sl_guardian = CASE WHEN sl IS DISTINCT FROM broker_sl THEN 'ENGINE' ELSE sl_guardian END,
    tp_guardian = CASE WHEN tp IS DISTINCT FROM broker_tp THEN 'ENGINE' ELSE tp_guardian END
  WHERE id = ANY(%s) AND quantity > 0 AND (sl_guardian = 'BROKER' OR tp_guardian = 'BROKER')
  RETURNING id, signal_id, connection_id
)
INSERT INTO execution_executionlog (signal_id, connection_id, code, detail)
SELECT signal_id, connection_id, '{Code.STOPS_INVALID.value}',
  'position ' || id || ': the broker does not hold the level, so we watch it'
FROM moved
"""


def grant_wishes() -> list[int]:
    """Do what can be done now; return ids of exits to ring (they are due anyway)."""
    with transaction.atomic():
        wished = rows(WISHED, ([row.id for row in rows(LOCK)],))
        exits = _settle(wished)
        cancels = _ask_cancels(wished)
    levels = rows(LEVELS)
    calls = [_cancel(row) for row in cancels] + [_modify(row) for row in levels]
    if calls:
        point("wishes.committed")
        answers = runtime.present().wire.ask(_gather(calls))
        point("wishes.answered")
        if reports := [report for a in answers if isinstance(a, list) for report in a]:
            apply_or_halve(reports)
        _take_what_was_refused(levels, answers[len(cancels) :])
    return exits


def _take_what_was_refused(levels: Sequence[Any], answers: Sequence[Any]) -> None:
    """Watch ourselves what a broker will not hold: too near, or where the price has been."""
    refused = [
        row.id
        for row, answer in zip(levels, answers, strict=True)
        if isinstance(answer, Rejected) and answer.code == Code.STOPS_INVALID
    ]
    if refused:
        with transaction.atomic():
            lock_positions(refused)
            run(TAKE_OVER, (refused,))


def _settle(wished: Sequence[Any]) -> list[int]:
    """End wishes about orders that have ended or never left; return exits for what had filled."""
    ended = [row for row in wished if row.status in TERMINAL]
    closing = [row for row in ended if row.wish == "CLOSE" and row.free > 0]
    exits = open_exits([ExitWish(row.position_id, "close") for row in closing])
    if ended:
        run("UPDATE execution_order SET wish = '' WHERE id = ANY(%s)", ([r.id for r in ended],))
    if unsent := [row.id for row in wished if row.status == "PENDING"]:
        run(CANCEL_UNSENT, (unsent,))
        balance(unsent)
    if waiting := [row.id for row in wished if row.status in IN_FLIGHT]:
        run(
            "UPDATE execution_order SET due_at = clock_timestamp() + interval '1 second'"
            " WHERE id = ANY(%s)",
            (waiting,),
        )
    return [exit_.order_id for exit_ in exits]


def _ask_cancels(wished: Sequence[Any]) -> list[Any]:
    ids = [row.id for row in wished if row.status in AT_BROKER]
    return rows(ASK_CANCEL, (ids,)) if ids else []


def _cancel(row: Any) -> Coroutine[Any, Any, list[OrderReport]]:
    request = CancelRequest(row.client_order_id, row.broker_order_id, row.symbol)
    return adapter_for(row.type).cancel(spec_from_row(row), request)


def _modify(row: Any) -> Coroutine[Any, Any, list[OrderReport]]:
    request = ModifyRequest(row.client_order_id, row.broker_position_id, row.symbol, row.sl, row.tp)
    return adapter_for(row.type).modify(spec_from_row(row), request)


async def _gather(calls: Sequence[Coroutine[Any, Any, list[OrderReport]]]) -> list[Any]:
    """Run the calls, bounded in number and time; one that fails is asked again by the next pass.

    Returns reports or the exception of each call, in their order.
    """
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(call: Coroutine[Any, Any, list[OrderReport]]) -> list[OrderReport]:
        async with limit, asyncio.timeout(settings.FILLCAST_CALL_TIMEOUT_SECONDS):
            return await call

    answers = await asyncio.gather(*map(one, calls), return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            log.warning("a cancel or change was not answered", error=repr(answer))
    return answers
