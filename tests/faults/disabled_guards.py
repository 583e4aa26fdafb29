"""Remove guards from a worker, to prove that the counters notice it.

A worker that is started with `-I tests.faults.disabled_guards` imports it. WITHOUT names one or
several guards, separated by commas. The product contains nothing of this.
"""

import os
from typing import Any

from common.db.sql import Query


def without_deadline() -> None:
    """Nothing stops a late call: neither the guard nor the call's time-out."""
    from execution.dispatch.order_dispatcher import OrderDispatcher

    OrderDispatcher._guard = lambda self, request: None  # type: ignore[method-assign]
    OrderDispatcher._time_out = lambda self, outgoing: None  # type: ignore[method-assign]


def without_fence() -> None:
    """Fencing tokens are ignored: reports of a stale process about its calls are applied."""
    from execution.reports import transitions

    real = transitions.after_report

    def unfenced(state: Any, report: Any) -> Any:
        from dataclasses import replace

        if report.fence:
            report = replace(report, fence=state.fence)
        return real(state, report)

    from execution.reports import order_changes

    order_changes.after_report = unfenced  # type: ignore[attr-defined]


def without_second_proof() -> None:
    """One absence confirmation is enough, even one from before the broker had to answer."""
    from common.db.sql import Query
    from execution.recovery import sweeps

    sweeps.CONFIRM_ABSENCE = sweeps.CONFIRM_ABSENCE.replace("o.absence_confirmations = 0", "false")
    since = "extract(epoch FROM clock_timestamp() - answer_by)::float8 AS overdue"
    assert since in sweeps.CLAIM_LOOKUPS
    sweeps.CLAIM_LOOKUPS = Query(
        sweeps.LookUpRow, sweeps.CLAIM_LOOKUPS.replace(since, "1e9::float8 AS overdue")
    )


def without_doubt() -> None:
    """An order without an answer counts as not sent."""
    from brokers.base import NotSent
    from common.reason_codes import Code
    from execution.dispatch import order_dispatcher

    real = order_dispatcher.reports_from_outcome

    def hasty(request: Any, outcome: Any, secrets: Any = None) -> Any:
        if isinstance(outcome, Exception):
            outcome = NotSent(Code.SEND_DEADLINE)
        return real(request, outcome, secrets or {})

    order_dispatcher.reports_from_outcome = hasty


def without_records() -> None:
    """Nothing is recorded before it is sent."""
    from execution.dispatch.send_journal import SendJournal

    SendJournal.record = lambda self, order_id, fence: None  # type: ignore[method-assign]


def without_luck() -> None:
    """Every fiftieth order raises an error in our own code."""
    from execution.submission import bundle_evaluation

    real = bundle_evaluation.decide

    def unlucky(row: Any, *rest: Any) -> Any:
        return real(row, *rest) if row.id % 50 else 1 // 0

    bundle_evaluation.decide = unlucky  # type: ignore[assignment]


def without_reservation() -> None:
    """Exits ignore the quantities of other exits, when they are written and when claimed."""
    ignore_reservations()
    ignore_other_exits()


def ignore_reservations() -> None:
    """Remove the first check: an exit may be for a quantity that other exits have reserved.

    The reserved quantity stays within the position's, so that the table's constraint holds.
    """
    from execution.exits import orders as exits
    from positions import row_locks

    row_locks.LOCK_WITH_FREE_QUANTITY = row_locks.LOCK_WITH_FREE_QUANTITY.replace(
        "AND quantity > reserved", ""
    )
    load = exits.LOAD.replace("p.quantity, p.reserved,", "p.quantity, 0::numeric AS reserved,")
    write = exits.WRITE.replace(
        "SET reserved = p.reserved + requested.quantity",
        "SET reserved = least(p.quantity, p.reserved + requested.quantity)",
    ).replace("AND p.reserved + requested.quantity <= p.quantity", "")
    exits.LOAD = Query(exits.LOAD.row_type, load)
    exits.WRITE = Query(exits.WRITE.row_type, write)


def ignore_other_exits() -> None:
    """Remove the second check: the claim ignores a position's other exits in flight."""
    from execution.submission import claim_sql

    exits = claim_sql.EXITS
    others = exits[exits.index("EXISTS") : exits.index(" AS has_exit_ahead")]
    taken = exits[exits.index("p.quantity - coalesce") : exits.index(" AS closable")]
    changed = exits.replace(others, "false").replace(taken, "p.quantity")
    claim_sql.EXITS = Query(exits.row_type, changed)


def without_comeback() -> None:
    """An account in error stays in error, whatever the broker answers."""
    from connections.health import status_updates

    status_updates._ACTIVE = "SELECT NULL::uuid AS connection_id WHERE %(ids)s::uuid[] IS NULL"


def without_events() -> None:
    """Brokers' events are acknowledged and discarded."""
    from execution.dispatch.report_writer import NotApplied
    from execution.runtime import event_stream as events

    def nothing(reports: Any, **how: Any) -> NotApplied:
        return NotApplied()

    events.apply_with_bisection = nothing  # type: ignore[attr-defined]


def without_unknown() -> None:
    """An order with a lost answer or a dead sender counts as not sent and is sent again at once,
    as a naive trade copier does.
    """
    from brokers.base import NotSent, OutcomeUnknown
    from common.reason_codes import Code
    from execution.dispatch import order_dispatcher
    from execution.recovery import sweeps
    from execution.reports import persistence

    real = order_dispatcher.reports_from_outcome

    def naive(request: Any, outcome: Any, secrets: Any = None) -> Any:
        if isinstance(outcome, OutcomeUnknown | TimeoutError):
            outcome = NotSent(Code.REPLY_LOST, "no outcome")
        return real(request, outcome, secrets or {})

    order_dispatcher.reports_from_outcome = naive
    persistence._backoff = lambda send_retries: 0.0
    sweeps.MARK_ORPHANED_UNKNOWN = sweeps.MARK_ORPHANED_UNKNOWN.replace(
        "SET status = 'UNKNOWN'", "SET status = 'PENDING', due_at = clock_timestamp()"
    ).replace("lookup_after = clock_timestamp()", "lookup_after = NULL")


DISABLED = {
    name.removeprefix("without_"): disable
    for name, disable in list(globals().items())
    if name.startswith("without_")
}
if "WITHOUT" in os.environ:
    for name in os.environ["WITHOUT"].split(","):
        DISABLED[name]()
