"""Changes of working orders: price and quantity are made at the broker what was requested.

A process claims a change for as long as the call may take and does not wait for the answer. The
results of a call count only while no later call was made. What follows from them is decided in
`change_outcomes.py`; the statements are in `change_statements.py`.

The order is never replaced by another one (docs/adr/0028).
"""

from collections.abc import Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from django.db import transaction

from brokers.registry import adapter_for
from brokers.types import BrokerOrder, OrderReport, OrderTerms
from common.db.sql import database_now, periodic_rows, record_arrays, rows, run
from common.failpoints import failpoint
from connections.selectors import spec_from_row
from connections.session_lanes import held_lanes_parameters
from execution.base.changed_orders import terms_report
from execution.base.kill_switch import Halts, read_halts
from execution.base.market_facts import doubt_facts, is_contradiction
from execution.base.statements import LOCK_ORDERS
from execution.changes.passed_entries import cancel_passed_entries, cancel_passed_rests
from execution.changes.signal_changes import begin_waiting_changes
from execution.dispatch.background_calls import BackgroundCall, CallResult, send_deadline
from execution.dispatch.call_results import write_results
from execution.models import ChangeState
from execution.monitoring.change_outcomes import not_made, outcome_of_call, stopped_by, stored_terms
from execution.monitoring.change_rows import ChangeOutcome, ChangeRow
from execution.monitoring.change_statements import ANY_DUE, CLAIM, END, SETTLE, SettledRecord
from execution.monitoring.freeze import hold_frozen_changes
from execution.reports.apply import apply_reports
from execution.reports.row_locks import free_orders
from execution.runtime import trading_runtime
from execution.runtime.broker_queries import as_partial_answer


def sync_entry_changes() -> None:
    """Start the calls of due changes, and end those whose order has ended. Does not wait.

    Entries whose price a level of their position has passed get a pending action that cancels them.
    """
    begin_waiting_changes()
    cancel_passed_rests()
    if not periodic_rows(ANY_DUE):
        return
    background_calls = trading_runtime.get_runtime().dispatcher.background_calls
    send_by = send_deadline()
    with transaction.atomic():
        run(END)
        hold_frozen_changes()
        parameters = {"longest": background_calls.max_seconds(), **held_lanes_parameters()}
        claimed = rows(CLAIM, parameters)
    if not claimed:
        return
    failpoint("changes.committed")
    background_calls.start([_call(row, send_by) for row in _without_stopped(claimed)])


def _without_stopped(claimed: Sequence[ChangeRow]) -> list[ChangeRow]:
    """Store that some changes are not sent any more; return the others."""
    halts = read_halts() if any(row.raises_risk for row in claimed) else Halts()
    stopped = {row.change_id: code for row in claimed if (code := stopped_by(row, halts))}
    _store([not_made(row, stopped[row.change_id]) for row in claimed if row.change_id in stopped])
    return [row for row in claimed if row.change_id not in stopped]


# ---- calls --------------------------------------------------------------------------------------
def _call(row: ChangeRow, send_by: float) -> BackgroundCall:
    make = _change if row.was == ChangeState.REQUESTED else _read
    return BackgroundCall(
        ("change", row.id), row, partial(make, row, send_by), _write_change_results
    )


def _change(row: ChangeRow, send_by: float) -> Coroutine[Any, Any, list[OrderReport]]:
    send_by = min(send_by, trading_runtime.get_runtime().lanes.until(row.lane))
    request = replace(row.request, send_by=send_by)
    return adapter_for(row.type).change_order(spec_from_row(row), request)


def _read(row: ChangeRow, _send_by: float) -> Coroutine[Any, Any, list[BrokerOrder]]:
    return adapter_for(row.type).open_orders(spec_from_row(row))


# ---- results ------------------------------------------------------------------------------------
def _write_change_results(done: Sequence[CallResult]) -> None:
    """Store what followed from changes and reads."""
    failpoint("changes.answered")
    write_results(done, _settle, free_orders)


def _settle(done: Sequence[CallResult]) -> None:
    now = database_now()
    _store([outcome_of_call(result, now) for result in done])
    doubt_facts({result.about.connection_id for result in done if is_contradiction(result.answer)})


def _store(outcomes: Sequence[ChangeOutcome]) -> None:
    """Store outcomes of calls, and the terms that brokers have shown, in one transaction."""
    if not outcomes:
        return
    records = [_settled_record(one) for one in outcomes]
    with transaction.atomic():
        rows(LOCK_ORDERS, (sorted({one.row.id for one in outcomes}),))
        settled = {row.id for row in rows(SETTLE, record_arrays(SettledRecord, records))}
        reports = [report for one in outcomes for report in one.reports]
        reports += [
            _shown_report(one.row, one.shown)
            for one in outcomes
            if one.shown is not None and one.row.change_id in settled
        ]
        if reports:
            apply_reports(as_partial_answer(reports))
        refused = {
            one.row.id
            for one in outcomes
            if one.state is ChangeState.REFUSED and one.row.change_id in settled
        }
        cancel_passed_entries(refused, by="the refusal of its change")


def _settled_record(outcome: ChangeOutcome) -> SettledRecord:
    return SettledRecord(
        id=outcome.row.change_id,
        calls=outcome.row.calls,
        state=outcome.state.value,
        code=outcome.code.value if outcome.code else "",
        detail=outcome.detail,
        seconds=outcome.seconds,
        absences=outcome.absences,
        look_up=outcome.look_up,
        unsent=outcome.unsent,
    )


def _shown_report(row: ChangeRow, shown: OrderTerms) -> OrderReport:
    return terms_report(
        connection_id=row.connection_id,
        client_order_id=row.client_order_id,
        broker_order_id=row.broker_order_id,
        terms=stored_terms(row, shown),
    )
