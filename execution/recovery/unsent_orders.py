"""Orders that a dead process of this machine has not sent: they are due again at once.

Its journal proves that they have not left (`execution/dispatch/send_journal.py`). All others that
it left SUBMITTING may be at their broker: `sweeps.py` has them looked up when its lease has ended.
"""

from contextlib import suppress
from typing import NamedTuple

import structlog

from brokers.types import OrderReport, ReportKind
from common.failpoints import failpoint
from common.reason_codes import Code
from common.sql import Query, rows
from execution.dispatch.journal_folder import journal_folder
from execution.dispatch.report_writer import apply_or_defer
from execution.dispatch.send_journal import DeadJournal, dead_journals

log = structlog.get_logger(__name__)
MOST = 5_000


class SubmittingRow(NamedTuple):
    """An order that a process was to send."""

    id: int
    client_order_id: str
    connection_id: str
    fence: int


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


def return_unsent_orders() -> int:
    """Make orders due again that dead processes of this machine cannot have sent; return how many.

    It does not wait for their leases: who gets a journal's lock knows that its process has ended.
    """
    return sum(map(_return_unsent, dead_journals(journal_folder())))


def _return_unsent(journal: DeadJournal) -> int:
    (lease,) = rows(LEASE, (journal.process_id,))  # first: later intents are in the next statement
    submitting = rows(SUBMITTING, (journal.process_id, MOST))
    unsent = [row for row in submitting if journal.proves_unsent(row.id, row.fence)]
    if unsent:
        failpoint("unsent.found")
        log.warning(
            "orders of a dead process had not left", process=journal.process_id, orders=len(unsent)
        )
        apply_or_defer([_not_sent(row) for row in unsent])
    elif lease.has_ended:  # the others are looked up
        with suppress(OSError):
            journal.path.unlink()
    return len(unsent)


def _not_sent(row: SubmittingRow) -> OrderReport:
    return OrderReport(
        kind=ReportKind.NOT_SENT,
        connection_id=row.connection_id,
        client_order_id=row.client_order_id,
        code=Code.WORKER_LOST_UNSENT,
        fence=row.fence,
    )
