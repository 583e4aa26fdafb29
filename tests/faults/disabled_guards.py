"""Guards taken away, to see that the counters notice: imported by a worker that is told WITHOUT
(one or several, with commas between).

Nothing of this is in the program: a worker is started with `-I tests.faults.disabled_guards`.
"""

import os
from typing import Any

from common.sql import Query


def without_deadline() -> None:
    """Nothing keeps a call from leaving late: neither the guard nor the time-out of the call."""
    from execution.dispatch.order_dispatcher import OrderDispatcher

    OrderDispatcher._guard = lambda self, request: None  # type: ignore[method-assign]
    OrderDispatcher._time_out = lambda self, outgoing: None  # type: ignore[method-assign]


def without_fence() -> None:
    """A decision counts whoever makes it: what a stale process says of its calls is believed."""
    from execution.reports import transitions

    real = transitions.after_report

    def unfenced(state: Any, report: Any) -> Any:
        from dataclasses import replace

        if report.fence:
            report = replace(report, fence=state.fence)
        return real(state, report)

    from execution.reports import order_changes as door

    door.after_report = unfenced  # type: ignore[attr-defined]


def without_second_proof() -> None:
    """One absence is enough, and one that was seen before anybody had to answer, too."""
    from common.sql import Query
    from execution.recovery import sweeps

    sweeps.CONFIRM_ABSENCE = sweeps.CONFIRM_ABSENCE.replace("o.absence_confirmations = 0", "false")
    since = "extract(epoch FROM clock_timestamp() - answer_by)::float8 AS overdue"
    assert since in sweeps.CLAIM_LOOKUPS
    sweeps.CLAIM_LOOKUPS = Query(
        sweeps.LookUpRow, sweeps.CLAIM_LOOKUPS.replace(since, "1e9::float8 AS overdue")
    )


def without_doubt() -> None:
    """An answer that did not come counts as an order that was not sent."""
    from brokers.base import NotSent
    from common.reason_codes import Code
    from execution.dispatch import order_dispatcher

    real = order_dispatcher.reports_from_outcome

    def hasty(request: Any, answer: Any, secrets: Any = None) -> Any:
        if isinstance(answer, Exception):
            answer = NotSent(Code.SEND_DEADLINE)
        return real(request, answer, secrets or {})

    order_dispatcher.reports_from_outcome = hasty


def without_luck() -> None:
    """Every fiftieth order breaks our own program."""
    from execution.submission import bundle_evaluation

    real = bundle_evaluation.decide

    def unlucky(row: Any, *rest: Any) -> Any:
        return real(row, *rest) if row.id % 50 else 1 // 0

    bundle_evaluation.decide = unlucky  # type: ignore[assignment]


def without_reservation() -> None:
    """Exits take what they want, whatever others have taken: when written and when claimed."""
    ignore_reservations()
    ignore_other_exits()


def ignore_reservations() -> None:
    """The first line: an exit is written for all of a position that others have reserved. The
    reservation stays within the quantity, so that the table's constraint never sees it."""
    from execution.exits import orders as exits
    from positions import row_locks

    row_locks.LOCK_WITH_FREE_QUANTITY = row_locks.LOCK_WITH_FREE_QUANTITY.replace(
        "AND quantity > reserved", ""
    )
    load = exits.LOAD.replace("p.quantity, p.reserved,", "p.quantity, 0::numeric AS reserved,")
    write = exits.WRITE.replace(
        "SET reserved = p.reserved + w.quantity",
        "SET reserved = least(p.quantity, p.reserved + w.quantity)",
    ).replace("AND p.reserved + w.quantity <= p.quantity", "")
    exits.LOAD = Query(exits.LOAD.row_type, load)
    exits.WRITE = Query(exits.WRITE.row_type, write)


def ignore_other_exits() -> None:
    """The second line: the claim does not ask which other exits of a position are on their way."""
    from execution.submission import claim_sql

    exits = claim_sql.EXITS
    others = exits[exits.index("EXISTS") : exits.index(" AS others_leaving")]
    taken = exits[exits.index("p.quantity - coalesce") : exits.index(" AS closable")]
    changed = exits.replace(others, "false").replace(taken, "p.quantity")
    claim_sql.EXITS = Query(exits.row_type, changed)


def without_comeback() -> None:
    """An account that is in error stays in error, whatever answers."""
    from connections.health import status_updates

    status_updates._ACTIVE = "SELECT NULL::uuid AS connection_id WHERE %(ids)s::uuid[] IS NULL"


def without_events() -> None:
    """What brokers tell by themselves is acknowledged and thrown away."""
    from execution.dispatch.report_writer import NotApplied
    from execution.runtime import event_stream as events

    def nothing(reports: Any, **how: Any) -> NotApplied:
        return NotApplied()

    events.apply_with_bisection = nothing  # type: ignore[attr-defined]


def without_unknown() -> None:
    """A lost answer, or a dead sender, is taken for an order that never left: it is sent again, at
    once. The naive copier."""
    from brokers.base import NotSent, OutcomeUnknown
    from common.reason_codes import Code
    from execution.dispatch import order_dispatcher
    from execution.recovery import sweeps
    from execution.reports import persistence

    real = order_dispatcher.reports_from_outcome

    def naive(request: Any, answer: Any, secrets: Any = None) -> Any:
        if isinstance(answer, OutcomeUnknown | TimeoutError):
            answer = NotSent(Code.REPLY_LOST, "no answer")
        return real(request, answer, secrets or {})

    order_dispatcher.reports_from_outcome = naive
    persistence._backoff = lambda send_retries: 0.0
    sweeps.MARK_ORPHANED_UNKNOWN = sweeps.MARK_ORPHANED_UNKNOWN.replace(
        "SET status = 'UNKNOWN'", "SET status = 'PENDING', due_at = clock_timestamp()"
    ).replace("lookup_after = clock_timestamp()", "lookup_after = NULL")


DISABLED = {
    name.removeprefix("without_"): deed
    for name, deed in list(globals().items())
    if name.startswith("without_")
}
if "WITHOUT" in os.environ:
    for name in os.environ["WITHOUT"].split(","):
        DISABLED[name]()
