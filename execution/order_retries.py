"""Retry an order that ended FAILED, which proves that the broker never had it."""

from django.db import transaction

from common.clocks import market_now
from common.db.sql import IdRow, Query, rows
from common.errors import ConflictError
from common.permissions import Right, require
from common.reason_codes import Code
from execution.exits.reservations import recompute_reserved
from execution.models import BY_HAND_PRIORITY, Order, SlicePlan, Status
from execution.reports.aggregates import dissolve
from positions.row_locks import lock_positions_sql
from users.models import User

# A statement of its own: the next one then sees what the former holder of the lock committed.
LOCK_POSITION = lock_positions_sql("SELECT position_id FROM execution_order WHERE id = %s")

RETRY = Query(
    IdRow,
    f"""
WITH moved AS (
  UPDATE execution_order SET status = 'PENDING', reason = '{Code.OPERATOR_RETRY.value}',
    detail = %(detail)s, done_at = NULL, send_retries = 0, attempt = least(attempt + 1, 9),
    due_at = clock_timestamp(), enqueued_at = clock_timestamp(), fence = fence + 1,
    waiting_since = clock_timestamp(), retried_at = %(now)s, pending_action_since = NULL,
    pending_action_attempts = 0, priority = least(priority, {BY_HAND_PRIORITY})
  WHERE id = %(id)s AND status = 'FAILED' AND attempt < 9 AND route_state <> 'MOVED'
    AND reason <> '{Code.RESTORED_EXIT.value}'
    AND NOT EXISTS (SELECT FROM execution_sliceplan s JOIN execution_order e ON e.id = s.order_id
      WHERE e.signal_id = execution_order.signal_id AND e.leg = 'entry'
        AND e.connection_id = execution_order.connection_id)
    AND (position_id IS NULL OR quantity <= (
      SELECT p.quantity - p.reserved FROM positions_executionposition p WHERE p.id = position_id))
  RETURNING id, signal_id, connection_id
), logged AS (
  INSERT INTO execution_executionlog (order_id, signal_id, connection_id, code, status, detail)
  SELECT id, signal_id, connection_id, '{Code.OPERATOR_RETRY.value}', 'PENDING', %(detail)s
  FROM moved
)
SELECT id FROM moved
""",
)


def retry_order(order_id: int, *, by: User | None = None) -> int:
    """Make a FAILED order due under the next attempt digit; return its id to enqueue.

    valid_until, price, limits and kill switch are checked again. Its age counts from now on: the
    person has seen how old the signal is, and the proof that a market entry never arrived takes
    longer than the maximum age of one.

    Raises ConflictError for any other status (an order that may be live is never sent again), for
    an exit of more than is free to close, and with SIGNAL_EXPIRED if the signal is no longer valid.
    """
    detail = f"by {by.get_username()}; its age counts from now on" if by else ""
    require(by, Right.RETRY)
    with transaction.atomic():
        order = _separated(order_id)
        if order is not None and (obstacle := retry_obstacle(order)):
            is_part = _has_plan(order) or order.aggregate_id is not None
            code = Code.STATE_CONFLICT if is_part else Code.SIGNAL_EXPIRED
            raise ConflictError(code, obstacle)
        rows(LOCK_POSITION, (order_id,))
        moved = rows(RETRY, {"id": order_id, "detail": detail, "now": market_now()})
        recompute_reserved([order_id])
    if not moved:
        raise ConflictError(Code.STATE_CONFLICT, "Only a FAILED order can be retried.")
    return moved[0].id


def retry_obstacle(order: Order) -> str:
    """Return why a retry of a FAILED entry could not succeed; empty: it may be tried."""
    signal = order.signal
    if order.status != Status.FAILED or not order.is_entry or signal is None:
        return ""
    if _has_plan(order):
        return "It is a slice of an entry, and the plan goes on without it."
    if order.sent_with.filter(done_at__isnull=True).exists():
        return "It is not known yet what became of the order that it was sent in with others."
    if order.sent_with.filter(filled_quantity__gt=0).exists():
        return "The order that it was sent in with others was executed. Publish a new signal."
    end = order.own_valid_until or signal.valid_until
    if end is None or end > market_now():
        return ""
    return (
        f"{signal.number} was valid until {end:%Y-%m-%d %H:%M:%S} UTC, so it would "
        "expire unsent. If you still want the trade, publish a new signal."
    )


def _has_plan(order: Order) -> bool:
    """Return whether it is a slice of an entry that has begun."""
    return (
        order.is_entry
        and SlicePlan.objects.filter(
            order__signal=order.signal_id, order__connection=order.connection_id, order__leg="entry"
        ).exists()
    )


def _separated(order_id: int) -> Order | None:
    """Return an order, alone from now on if nothing came of the one that it was sent in.

    A later attempt has the first one's client order id, and must not be taken for all of them.
    """
    order = Order.objects.select_related("signal").filter(pk=order_id).first()
    if order is None or order.aggregate_id is None or order.status != Status.FAILED:
        return order
    members = Order.objects.select_for_update(no_key=True).filter(aggregate_id=order.aggregate_id)
    if all(member.done_at and not member.filled_quantity for member in members.order_by("pk")):
        dissolve([order.aggregate_id])
        order.aggregate_id = None
    return order
