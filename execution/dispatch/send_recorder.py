"""When an order is recorded in the journal of sends: at the latest before its outcome counts.

At the guard, right before the socket write (docs/adr/0059). Some orders meet no guard: an adapter
of another package may not call it, and any adapter that finds an order of an earlier send at the
broker sends nothing, and returns that order's reports.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from brokers.base import NotSent
from brokers.registry import is_built_in
from brokers.types import OrderReport, OrderRequest, ReportKind
from execution.submission.outgoing import Outgoing

log = structlog.get_logger(__name__)
CallOutcome = Sequence[OrderReport] | BaseException


@dataclass(slots=True)
class SendMarks:
    """What is known of a call: whether it is recorded, and whether it has met the guard."""

    is_recorded: bool = False
    has_met_guard: bool = False


class SendRecorder:
    """Records the orders of a process that may have left. Used on its event loop only."""

    def __init__(self, record: Callable[[int, int], None], distrust: Callable[[], None]) -> None:
        """record: records an order id with a fence. distrust: what is not recorded may have left,
        too."""
        self._record_send, self._distrust = record, distrust

    def before_submit(self, outgoing: Outgoing, marks: SendMarks) -> None:
        """Record an order before the adapter of another package gets it.

        Nothing proves that such an adapter calls the guard. Without a record, what it had sent
        would be sent again. Ours pass the checks of `conformance/`.
        """
        if not is_built_in(outgoing.broker_type):
            self._record(outgoing.request, marks)

    def at_guard(self, request: OrderRequest, marks: SendMarks) -> None:
        """Record an order right before its socket write."""
        self._record(request, marks)
        marks.has_met_guard = True

    def at_outcome(self, outgoing: Outgoing, outcome: CallOutcome, marks: SendMarks) -> None:
        """Record an order whose outcome does not prove that the broker lacks it.

        If this process died before the outcome is stored, it would be sent again.
        """
        if isinstance(outcome, NotSent):
            return
        self._record(outgoing.request, marks)
        is_first_send = outgoing.request.fence == 1  # there is no earlier one to be found
        if is_first_send and not marks.has_met_guard and _is_at_broker(outcome):
            log.error(
                "an adapter sends orders without the guard: nothing stops them in time, and if"
                " this process dies, all that it has not sent will be looked up",
                broker_type=outgoing.broker_type,
                order=outgoing.request.order_id,
            )
            self._distrust()

    def _record(self, request: OrderRequest, marks: SendMarks) -> None:
        if not marks.is_recorded:
            self._record_send(request.order_id, request.fence)
            marks.is_recorded = True


def _is_at_broker(outcome: CallOutcome) -> bool:
    """Return whether the broker has accepted or executed the order."""
    if isinstance(outcome, BaseException):
        return False
    return any(report.kind in (ReportKind.ACCEPTED, ReportKind.FILLED) for report in outcome)
