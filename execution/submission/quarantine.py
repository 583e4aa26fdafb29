"""Quarantine: an unsent order that causes an error in our own code becomes FAILED."""

import structlog
from django.db import DatabaseError, transaction

from common.db.sql import run
from common.reason_codes import Code
from execution.base.dropped_messages import new_reference
from execution.base.statements import (
    event_rows_sql,
    insert_events_sql,
    insert_log_sql,
    log_rows_sql,
)
from execution.exits.reservations import recompute_reserved

log = structlog.get_logger(__name__)

_CODE = f"'{Code.ORDER_PROCESSING_FAILED.value}'"
_FAILED = event_rows_sql(
    "moved m",
    kind="'order.failed'",
    payload=f"jsonb_build_object('code', {_CODE}, 'detail', %s::text)",
)
QUARANTINE = f"""
WITH moved AS (
  UPDATE execution_order SET status = 'FAILED', reason = '{Code.ORDER_PROCESSING_FAILED.value}',
    detail = %s, done_at = clock_timestamp(),
    route_state = CASE route_state WHEN 'HERE' THEN 'LAST' ELSE route_state END
  WHERE id = %s AND status = 'PENDING'
  RETURNING id, signal_id, connection_id
), notified AS (
  {insert_events_sql(_FAILED)}
)
{insert_log_sql(log_rows_sql("moved m", code=_CODE, status="'FAILED'", detail="%s"))}
"""


def quarantine_order(order_id: int, error: Exception) -> None:
    """Fail one order before it is sent. Its page shows a reference to the traceback in the log."""
    reference = new_reference()
    log.exception("an order breaks our own program", order=order_id, reference=reference)
    # A database's message may quote a row.
    message = "" if isinstance(error, DatabaseError) else f": {error}"[:200]
    detail = f"{type(error).__name__}{message} (reference {reference})"
    with transaction.atomic():
        run(QUARANTINE, (detail, order_id, detail, detail))
        recompute_reserved([order_id])
