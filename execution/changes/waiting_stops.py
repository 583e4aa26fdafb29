"""A wider stop of an entry at its broker that counts once the broker has a smaller quantity.

A person may lower the quantity and widen the stop in one request. Judged with the old quantity, the
stop may exceed a limit that both together keep, and the broker may refuse the new quantity. So the
stop waits as a change of its own (`WAITING`), for as long as the change of the quantity is open;
`signal_changes.begin_waiting_changes` then makes or refuses it.
"""

from common.db.sql import run
from common.errors import ConflictError
from common.money import plain
from common.reason_codes import Code
from execution.base.statements import insert_log_sql, log_rows_sql
from execution.models import ChangeState, EntryChange, Order
from execution.submission.change_terms import AllowedChange
from signals.models import Signal
from users.models import User

# A waiting price of a signal may have joined it: that one stays.
DROP = f"""
WITH dropped AS (
  UPDATE execution_entrychange h SET stop_loss = NULL, old_stop_loss = NULL,
    state = CASE WHEN h.signal_id IS NULL THEN 'REFUSED' ELSE h.state END,
    code = CASE WHEN h.signal_id IS NULL THEN '{Code.CHANGE_REPLACED.value}' ELSE h.code END,
    detail = CASE WHEN h.signal_id IS NULL THEN 'stop loss; by ' || %(name)s ELSE h.detail END,
    done_at = CASE WHEN h.signal_id IS NULL THEN clock_timestamp() END
  FROM execution_order o
  WHERE o.id = h.order_id AND o.signal_id = %(refers_to)s AND o.leg LIKE 'entry%%'
    AND h.state = 'WAITING' AND h.stop_loss IS NOT NULL
  RETURNING o.id, o.signal_id, o.connection_id, o.status
)
{
    insert_log_sql(
        log_rows_sql(
            "dropped m",
            code=f"'{Code.CHANGE_REPLACED.value}'",
            detail="'stop loss; by ' || %(name)s",
        )
    )
}
"""
REQUESTED = f"""
WITH m AS (SELECT id, signal_id, connection_id, status FROM execution_order WHERE id = %(id)s)
{insert_log_sql(log_rows_sql("m", code=f"'{Code.CHANGE_REQUESTED.value}'", detail="%(detail)s"))}
"""


def has_waiting_stop(order_id: int) -> bool:
    """Return whether a stop of this order waits for its quantity."""
    waiting = EntryChange.objects.filter(order=order_id, state=ChangeState.WAITING)
    return waiting.filter(stop_loss__isnull=False).exists()


def write_waiting_stop(order: Order, together: AllowedChange, by: User | None) -> str:
    """Store the stop of a change that waits for its quantity; return what waits, as a sentence.

    Raises ConflictError if another change waits.
    """
    if EntryChange.objects.filter(order=order.pk, state=ChangeState.WAITING).exists():
        raise ConflictError(Code.CHANGE_OPEN)
    name = by.get_username() if by else ""
    EntryChange.objects.create(
        order=order,
        connection_id=order.connection_id,
        state=ChangeState.WAITING,
        quantity=together.quantity,
        old_quantity=together.quantity,
        stop_loss=together.stop_loss,
        old_stop_loss=together.old_stop_loss,
        requested_by=by,
        requested_name=name,
    )
    old, new = plain(together.old_stop_loss) or "none", plain(together.stop_loss)
    text = f"stop loss {old} to {new} once the quantity is {plain(together.quantity)}"
    run(REQUESTED, {"id": order.pk, "detail": f"{text}; by {name}" if name else text})
    return f"Then: {text}."


def refusal_of_stop(change: EntryChange, order: Order) -> ConflictError | None:
    """Return why a waiting stop does not count: the order has kept a larger quantity."""
    if change.stop_loss is None or change.quantity is None or order.quantity is None:
        return None
    if order.quantity <= change.quantity:
        return None
    detail = f"The quantity stayed {plain(order.quantity)}, so the stop loss stays as it was."
    return ConflictError(Code.CHANGE_REFUSED, detail)


def drop_waiting_stops(signal: Signal) -> None:
    """Let the stop of a MODIFY count in place of stops that wait. The orders are locked."""
    if signal.sl is not None:
        run(DROP, {"refers_to": signal.refers_to_id, "name": signal.number})
