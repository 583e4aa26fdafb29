"""Orders that a dead process of this machine has not sent: they are due again at once.

Its journal proves that they have not left (`execution/dispatch/send_journal.py`). All others that
it left SUBMITTING may be at their broker: `sweeps.py` has them looked up when its lease has ended.
"""

from contextlib import suppress
from typing import NamedTuple

import structlog
from django.db import transaction

from common.db.sql import Query, rows
from common.failpoints import failpoint
from execution.base.high_water_mark import HighWaterMark, refuse_server_behind
from execution.dispatch.journal_folder import journal_folder
from execution.dispatch.report_writer import apply_or_defer
from execution.dispatch.send_journal import DeadJournal, dead_journals
from execution.dispatch.unsent_reports import MOST, SubmittingRow, not_sent_report

log = structlog.get_logger(__name__)


class LeaseRow(NamedTuple):
    """Whether a process's lease has ended: then no transaction of it can commit any more."""

    has_ended: bool


# Of orders that are sent as one, the first is in the journal, and its report is that of all.
SUBMITTING = Query(
    SubmittingRow,
    """
SELECT o.id, o.client_order_id, o.connection_id::text, o.fence FROM execution_order o
WHERE o.status = 'SUBMITTING' AND o.worker_id = %s
  AND (o.aggregate_id IS NULL OR o.aggregate_id = o.id)
ORDER BY o.id + 0 LIMIT %s
""",
)
LEASE = Query(
    LeaseRow,
    """
SELECT NOT EXISTS (SELECT FROM execution_workerlease
  WHERE id = %s AND lease_until > clock_timestamp()) AS has_ended
""",
)


def return_unsent_orders(known_mark: HighWaterMark | None = None) -> int:
    """Make orders due again that dead processes of this machine cannot have sent; return how many.

    It does not wait for their leases: who gets a journal's lock knows that its process has ended.

    Raises DataLossSuspectedError if there is a journal and the server lacks known_mark: there an
    order may still wait for a sending that another process has made since.
    """
    return sum(_return_unsent(one, known_mark) for one in dead_journals(journal_folder()))


def _return_unsent(journal: DeadJournal, known_mark: HighWaterMark | None) -> int:
    with transaction.atomic():  # of one server, behind a pooler
        refuse_server_behind(known_mark)
        (lease,) = rows(LEASE, (journal.process_id,))  # first: the next statement has later intents
        submitting = rows(SUBMITTING, (journal.process_id, MOST))
    unsent = [row for row in submitting if journal.proves_unsent(row.id, row.fence)]
    if unsent:
        failpoint("unsent.found")
        log.warning(
            "orders of a dead process had not left", process=journal.process_id, orders=len(unsent)
        )
        apply_or_defer([not_sent_report(row) for row in unsent])
    elif lease.has_ended:  # the others are looked up
        with suppress(OSError):
            journal.path.unlink()
    return len(unsent)
