"""Orders that this living process was to send, and does not know of: they are due again at once.

If its database session dies while an intent is committed, the process gets an error although the
intent is on disk, and no process sends it. Its own journal proves that it has not left. So that it
cannot leave later either, the dispatcher refuses it from then on.
"""

from collections.abc import Callable

import structlog
from django.db import transaction

from common.clocks import machine_time
from common.db.sql import Query, rows
from execution.base.high_water_mark import HighWaterMark, refuse_server_behind
from execution.dispatch.order_dispatcher import OrderDispatcher
from execution.dispatch.report_writer import apply_or_defer
from execution.dispatch.unsent_reports import MOST, SubmittingRow, not_sent_report

log = structlog.get_logger(__name__)
WATCH_SECONDS = 60.0  # after an error; a commit that was on its way may still come

# Not those that were claimed just now: their thread is about to dispatch them.
OWN_SUBMITTING = Query(
    SubmittingRow,
    """
SELECT o.id, o.client_order_id, o.connection_id::text, o.fence FROM execution_order o
WHERE o.status = 'SUBMITTING' AND o.worker_id = %s
  AND (o.aggregate_id IS NULL OR o.aggregate_id = o.id)
  AND o.submitted_at < clock_timestamp() - interval '1 second'
ORDER BY o.id + 0 LIMIT %s
""",
)


class LostIntents:
    """Finds the intents that a process has lost, for a while after an error. Thread-safe."""

    def __init__(self, dispatcher: OrderDispatcher, lacks: Callable[[int, int], bool]) -> None:
        """lacks: whether the process's journal proves that an order has not left."""
        self._dispatcher, self._lacks = dispatcher, lacks
        self._until = float("-inf")

    def suspect(self) -> None:
        """Look for them from now on: a claim ended in an error."""
        self._until = machine_time() + WATCH_SECONDS

    def return_unsent(self, process_id: str, known_mark: HighWaterMark | None = None) -> int:
        """Make the lost orders due again; return how many. Nothing is read without an error.

        Raises DataLossSuspectedError if the server lacks known_mark.
        """
        if machine_time() >= self._until:
            return 0
        with transaction.atomic():  # of one server, behind a pooler
            refuse_server_behind(known_mark)
            submitting = rows(OWN_SUBMITTING, (process_id, MOST))
        unknown = self._dispatcher.disown([(row.id, row.fence) for row in submitting])
        unsent = [
            row
            for row in submitting
            if (row.id, row.fence) in unknown and self._lacks(row.id, row.fence)
        ]
        if unsent:
            log.warning("orders had not left: their claim ended in an error", orders=len(unsent))
            apply_or_defer([not_sent_report(row) for row in unsent])
        return len(unsent)
