"""Quarantine: an unsent order that causes an error in our own code becomes FAILED."""

import structlog
from django.db import DatabaseError, transaction

from common.reason_codes import Code
from common.sql import run
from execution.base.dropped_messages import new_reference
from execution.exits.reservations import recompute_reserved

log = structlog.get_logger(__name__)

QUARANTINE = f"""
WITH moved AS (
  UPDATE execution_order SET status = 'FAILED', reason = '{Code.ORDER_PROCESSING_FAILED.value}',
    detail = %s, done_at = clock_timestamp()
  WHERE id = %s AND status = 'PENDING'
  RETURNING id, signal_id, connection_id
), notified AS (
  INSERT INTO events_event (kind, user_id, connection_id, signal_id, order_id, payload)
  SELECT 'order.failed', coalesce(c.user_id, c.admin_id), m.connection_id, m.signal_id, m.id,
    jsonb_build_object('code', '{Code.ORDER_PROCESSING_FAILED.value}', 'detail', %s::text)
  FROM moved m JOIN connections_executionconnection c ON c.id = m.connection_id
)
INSERT INTO execution_executionlog (order_id, signal_id, connection_id, code, status, detail)
SELECT id, signal_id, connection_id, '{Code.ORDER_PROCESSING_FAILED.value}', 'FAILED', %s FROM moved
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
