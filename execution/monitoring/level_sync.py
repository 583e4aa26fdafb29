"""Level changes: the stops and targets that a broker holds are made equal to ours.

A process claims the position for as long as the call may take and does not wait for the answer;
the answer is stored by `apply_reports`. A change without an answer is sent again with a growing
pause. Levels that the broker does not accept or keep are monitored by us.
"""

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

from brokers.base import Rejected
from brokers.registry import adapter_for
from brokers.types import ModifyRequest, OrderReport
from common.db.sql import Query, periodic_rows, rows
from common.failpoints import failpoint
from common.reason_codes import Code
from connections.selectors import SPEC_COLUMNS, LaneAccount, connection_join_sql, spec_from_row
from connections.session_lanes import held_lanes_parameters
from execution.base.market_facts import doubt_facts, is_contradiction
from execution.base.statements import opening_entry_join_sql
from execution.dispatch.background_calls import BackgroundCall, CallResult, send_deadline
from execution.dispatch.call_results import run_atomically, write_results
from execution.dispatch.report_writer import apply_call_reports
from execution.monitoring.freeze import hold_frozen_levels
from execution.runtime import trading_runtime
from execution.submission.deferral import prerequisites
from positions.broker_levels import (
    ANY_DUE_LEVELS,
    CLAIM_LEVELS_SQL,
    GIVE_UP_SQL,
    GUARD_OURSELVES_SQL,
    LEVELS_NOT_STARTED,
    LEVELS_REQUESTED,
    REQUEST_NEXT_READ,
)
from positions.levels import LACKS_LEVEL_SQL
from positions.row_locks import LOCK_BY_ID, lock_unlocked


@dataclass(frozen=True, slots=True)
class LevelChange(LaneAccount):
    """A position whose levels to change at the broker. sl, tp: the prices it should hold.

    lacked_level: before the change the broker held no level where it should hold one.
    """

    id: int
    symbol: str
    broker_position_id: str
    quantity: Decimal
    protection_suspended: bool
    lacked_level: bool
    client_order_id: str
    sl: Decimal | None
    tp: Decimal | None


LEVELS = Query(
    LevelChange,
    f"""
{CLAIM_LEVELS_SQL}
SELECT p.id, p.connection_id, p.symbol, p.broker_position_id, p.quantity, p.protection_suspended,
  {LACKS_LEVEL_SQL} AS lacked_level, e.client_order_id,
  CASE WHEN p.sl_guardian = 'BROKER' AND NOT p.protection_suspended THEN p.sl END AS sl,
  CASE WHEN p.tp_guardian = 'BROKER' AND NOT p.protection_suspended THEN p.tp END AS tp,
  {SPEC_COLUMNS}, c.broker_host, c.lane
FROM p
{connection_join_sql("p.connection_id")}
{opening_entry_join_sql("p")}
ORDER BY p.id
""",
)

# A level was placed again, and the broker still holds none.
GIVE_UP = f"""
WITH moved AS (
  {GIVE_UP_SQL}
)
INSERT INTO execution_executionlog (signal_id, connection_id, code, detail)
SELECT signal_id, connection_id, '{Code.STOP_DROPPED.value}',
  'position ' || id || ': placed again, but the broker still holds none; we monitor the level'
FROM moved
"""

# The broker rejected a level as invalid.
TAKE_OVER_LEVELS = f"""
WITH moved AS (
  {GUARD_OURSELVES_SQL}
)
INSERT INTO execution_executionlog (signal_id, connection_id, code, detail)
SELECT signal_id, connection_id, '{Code.STOPS_INVALID.value}',
  'position ' || id || ': the broker does not accept the level; we monitor it'
FROM moved
"""


def sync_levels() -> None:
    """Start level changes where a broker's levels differ from ours. Does not wait."""
    background_calls = trading_runtime.get_runtime().dispatcher.background_calls
    send_by = send_deadline()
    held = held_lanes_parameters()
    levels: list[LevelChange] = []
    if periodic_rows(ANY_DUE_LEVELS, held):
        hold_frozen_levels()
        levels = rows(LEVELS, {"longest": background_calls.max_seconds(), **held})
    if levels:
        failpoint("pending_actions.committed")
    background_calls.start(
        [
            BackgroundCall(
                ("levels", row.id), row, partial(_modify, row, send_by), _write_level_results
            )
            for row in levels
        ]
    )


def _write_level_results(done: Sequence[CallResult]) -> None:
    """Store the results of level changes. We guard levels that the broker does not accept."""
    failpoint("pending_actions.answered")
    blocked = bool(apply_call_reports(done).blocked)
    write_results(done, _store_level_changes, lock_unlocked, expect_locks=blocked)
    if any(result.about.protection_suspended for result in done):
        prerequisites.set()  # an exit waits for the read that follows


def _store_level_changes(done: Sequence[CallResult]) -> None:
    """Count attempts, take over rejected levels, and plan the next step of answered changes."""
    rejected = [
        result.about.id
        for result in done
        if isinstance(result.answer, Rejected) and result.answer.code == Code.STOPS_INVALID
    ]
    answered = [result.about for result in done if not result.failed]
    placed_again = [row.id for row in answered if row.lacked_level and not row.protection_suspended]
    removed = [row.id for row in answered if row.protection_suspended]
    doubt_facts({result.about.connection_id for result in done if is_contradiction(result.answer)})
    requested = [result.about.id for result in done if result.had_slot]
    not_started = [result.about.id for result in done if not result.had_slot]
    run_atomically(
        [
            (TAKE_OVER_LEVELS, rejected),
            (GIVE_UP, placed_again),
            (LEVELS_REQUESTED, requested),
            (LEVELS_NOT_STARTED, not_started),
            (REQUEST_NEXT_READ, removed),
        ],
        LOCK_BY_ID,
    )


def _modify(row: LevelChange, send_by: float) -> Coroutine[Any, Any, list[OrderReport]]:
    send_by = min(send_by, trading_runtime.get_runtime().lanes.until(row.lane))
    request = ModifyRequest(
        row.client_order_id,
        row.broker_position_id,
        row.symbol,
        row.sl,
        row.tp,
        row.quantity,
        send_by,
    )
    return adapter_for(row.type).modify(spec_from_row(row), request)
