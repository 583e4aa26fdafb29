"""The report that an order which a process was to send has not left."""

from typing import NamedTuple

from brokers.types import OrderReport, ReportKind
from common.reason_codes import Code

MOST = 5_000  # that are read at once


class SubmittingRow(NamedTuple):
    """An order that a process was to send."""

    id: int
    client_order_id: str
    connection_id: str
    fence: int


def not_sent_report(row: SubmittingRow) -> OrderReport:
    """Return the report that an order of a process has not left."""
    return OrderReport(
        kind=ReportKind.NOT_SENT,
        connection_id=row.connection_id,
        client_order_id=row.client_order_id,
        code=Code.WORKER_LOST_UNSENT,
        fence=row.fence,
    )
