"""Reports about orders that no row is of: in the archive, lost in a restore, or not ours."""

from collections.abc import Sequence

from brokers.types import OrderReport, ReportKind
from common.db.sql import run
from common.reason_codes import Code
from execution.base.archived_orders import KnownOrder, archived_orders
from execution.base.drift_items import write_drift
from execution.base.dropped_messages import record_dropped
from execution.ids import base_of
from execution.models import DroppedMessageCount

# What an order that ended without a fill may be reported to be, again and again.
NOTHING_NEW = frozenset({
    ReportKind.REJECTED, ReportKind.CANCELLED, ReportKind.EXPIRED, ReportKind.CANCEL_REFUSED,
    ReportKind.NOT_SENT, ReportKind.UNKNOWN,
})  # fmt: skip

# Brokers repeat their reports: each statement is logged once.
LOG = """
INSERT INTO execution_executionlog (order_id, signal_id, connection_id, code, status, detail)
SELECT a.id, a.signal_id, a.connection_id, %(code)s::text, a.status, %(detail)s::text
FROM execution_archivedorder a WHERE a.id = %(id)s AND NOT EXISTS (
  SELECT FROM execution_executionlog l
  WHERE l.order_id = a.id AND l.code = %(code)s::text AND l.detail = %(detail)s::text)
"""


def record_unknown(reports: Sequence[OrderReport]) -> None:
    """Store reports without an order as drift, which people see. Call it in their transaction.

    An archived order that executed after all is stated as such, with its number. That one ended
    the way it did is nothing new: it is counted.
    """
    if not reports:
        return
    archived = archived_orders(report.client_order_id for report in reports)
    for report in reports:
        order = archived.get((report.connection_id, base_of(report.client_order_id)))
        if order is not None:
            _about_archived(report, order)
        elif not write_drift(Code.UNKNOWN_ORDER, report):
            record_dropped(DroppedMessageCount.Name.UNKNOWN_CONNECTION, repr(report))


def _about_archived(report: OrderReport, order: KnownOrder) -> None:
    if report.kind in NOTHING_NEW and not report.fills:
        sample = f"{order.name}: {report.kind.value}"
        record_dropped(DroppedMessageCount.Name.ARCHIVED_ORDER, sample)
        return
    code = Code.ARCHIVED_ORDER_REPORTED
    write_drift(code, report, order_id=order.id, archived_order=order.name)
    executed = ", ".join(fill.broker_fill_id for fill in report.fills)
    detail = f"{report.kind.value} {executed}".strip()[:300]
    run(LOG, {"id": order.id, "code": code.value, "detail": detail})
