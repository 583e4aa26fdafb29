"""Change the price or quantity of an entry that has not filled: what a person requests.

An order that its broker does not have yet (held by the engine, or waiting) is changed here, in one
transaction. For one that works at its broker a row is written (`EntryChange`), and
`monitoring/entry_changes.py` makes the call. There is never a second order (docs/adr/0028).
"""

from typing import Any

from django.db import transaction

from common.errors import ConflictError, FillcastError, InvalidInputError
from common.money import plain
from common.reason_codes import Code
from common.sql import database_now, run
from execution.models import (
    OPEN_CHANGE,
    ChangeState,
    EntryChange,
    Order,
    OrderTrigger,
    RouteState,
    SlicePlan,
    Status,
)
from execution.permissions import require_on_accounts
from execution.submission.changes import (
    AllowedChange,
    WantedTerms,
    evaluate_change,
    lock_before_order,
)
from execution.submission.signal_limits import SignalTotals
from execution.submission.sizing import Denial
from signals.models import OrderType
from users.models import User
from users.tenancy import for_all_tenants

WITH_LIMIT = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT})
WITH_STOP = frozenset({OrderType.STOP, OrderType.STOP_LIMIT, OrderType.IF_TOUCHED})
CHANGEABLE = frozenset({Status.PENDING, Status.SUBMITTED, Status.PARTIALLY_FILLED})
# The values of a denial that an input field explains.
_FIELDS = {
    Code.CHANGE_BELOW_FILLED: "quantity",
    Code.QUANTITY_BELOW_MINIMUM: "quantity",
    Code.VOLUME_INVALID: "quantity",
}

# Only prices from now on count for the new level: a hit of the old one does not fire any more.
MOVE_TRIGGER = """
UPDATE execution_ordertrigger SET level = %(level)s, active_since = clock_timestamp()
WHERE order_id = %(id)s AND is_armed AND kind <> 'TRAILING'
"""
CHANGE_UNSENT = f"""
WITH moved AS (
  UPDATE execution_order SET limit_price = %(limit)s, stop_price = %(stop)s,
    requested_quantity = %(quantity)s, detail = coalesce(%(held)s, detail)
  WHERE id = %(id)s AND status = 'PENDING'
  RETURNING id, signal_id, connection_id, status
)
INSERT INTO execution_executionlog (order_id, signal_id, connection_id, code, status, detail)
SELECT id, signal_id, connection_id, '{Code.ORDER_CHANGED.value}', status, %(detail)s FROM moved
"""
# Until the change is done or refused, the order counts with the larger of both.
REQUEST = f"""
WITH moved AS (
  UPDATE execution_order SET quantity = greatest(quantity, %(quantity)s),
    margin = greatest(margin, %(margin)s), risk = greatest(risk, %(risk)s)
  WHERE id = %(id)s
  RETURNING id, signal_id, connection_id, status
)
INSERT INTO execution_executionlog (order_id, signal_id, connection_id, code, status, detail)
SELECT id, signal_id, connection_id, '{Code.CHANGE_REQUESTED.value}', status, %(detail)s FROM moved
"""


def obstacle(order: Order) -> FillcastError | None:
    """Return why an order cannot be changed now, whatever the values; None: it may be tried.

    Reads the order's slices and its open change.
    """
    if order.done_at is not None:
        return ConflictError(Code.ORDER_ENDED, f"The order is {order.status}.")
    if order.pending_action or order.status == Status.CANCEL_REQUESTED:
        return ConflictError(Code.ORDER_BEING_CANCELLED)
    if order.status not in CHANGEABLE:
        return ConflictError(Code.ORDER_IN_FLIGHT)
    if not order.is_entry:
        detail = "It closes a position. Change the position's stop or target instead."
        return ConflictError(Code.CHANGE_UNSUPPORTED, detail)
    if order.is_slice or SlicePlan.objects.filter(order=order.pk).exists():
        return ConflictError(Code.CHANGE_UNSUPPORTED, "It is a slice of an entry.")
    signal = order.signal
    if signal is not None and signal.execution_style:
        return ConflictError(Code.CHANGE_UNSUPPORTED, "It is an entry in slices.")
    if order.status != Status.PENDING and order.order_type == OrderType.MARKET:
        return ConflictError(Code.CHANGE_UNSUPPORTED, "A market order has nothing to change.")
    if _follows_at_broker(order):
        detail = "A trailing stop at its broker cannot be changed. Cancel it instead."
        return ConflictError(Code.CHANGE_UNSUPPORTED, detail)
    if EntryChange.objects.filter(OPEN_CHANGE, order=order.pk).exists():
        return ConflictError(Code.CHANGE_OPEN)
    return None


def may_be_changed(order: Order) -> bool:
    """Return whether a page offers the change of an order. Reads nothing but its signal."""
    return (
        order.status in CHANGEABLE
        and not order.pending_action
        and order.leg == "entry"
        and not (order.signal is not None and order.signal.execution_style)
        and (order.status == Status.PENDING or order.order_type != OrderType.MARKET)
        and not _follows_at_broker(order)
    )


def _follows_at_broker(order: Order) -> bool:
    """Return whether its broker moves its price: a change could move that back."""
    return order.status != Status.PENDING and order.order_type == OrderType.TRAILING_STOP


def change_order(order_id: int, wanted: WantedTerms, *, by: User | None = None) -> EntryChange:
    """Change an entry that has not filled; return the change, which is DONE or requested.

    Raises InvalidInputError with a field for a value that the order cannot have; ConflictError if
    its state, its broker or a limit does not allow the change. Enqueue pending actions on commit.
    """
    with transaction.atomic():
        order = Order.objects.select_related("signal").get(pk=order_id)
        require_on_accounts([order.connection_id], by)
        with for_all_tenants():
            # In the order of the claim, which this change and its limits must not overtake.
            totals = lock_before_order(order)
            locked = Order.objects.select_for_update(no_key=True, of=("self",))
            order = locked.select_related("signal").get(pk=order_id)
            if error := obstacle(order):
                raise error
            return request_change(order, wanted, totals, by=by)


def request_change(
    order: Order,
    wanted: WantedTerms,
    totals: SignalTotals,
    *,
    by: User | None = None,
    change: EntryChange | None = None,
) -> EntryChange:
    """Decide and store the change of a locked order without an obstacle.

    change: one that waits and becomes this change. Raises as `change_order` does.
    """
    if error := _unfit(order, wanted):
        raise error
    allowed = evaluate_change(order, wanted, totals)
    if isinstance(allowed, Denial):
        raise _refusal(allowed)
    return _stored(order, allowed, by, change or EntryChange(order=order))


def _unfit(order: Order, wanted: WantedTerms) -> FillcastError | None:
    """Return which values an order of this type cannot have."""
    errors = []
    for name, value, types in (
        ("limit_price", wanted.limit_price, WITH_LIMIT),
        ("stop_price", wanted.stop_price, WITH_STOP),
    ):
        if value is not None and order.order_type not in types:
            detail = f"An order of the type {order.order_type} has none."
            errors.append(InvalidInputError(Code.FIELD_INVALID, detail, field=name))
        elif value is not None and value <= 0:
            detail = "It must be above 0."
            errors.append(InvalidInputError(Code.FIELD_INVALID, detail, field=name))
    if wanted.quantity is not None and wanted.quantity <= 0:
        detail = "It must be above 0."
        errors.append(InvalidInputError(Code.FIELD_INVALID, detail, field="quantity"))
    if errors:
        first, *others = errors
        first.others = tuple(others)
        return first
    is_moving = order.status == Status.PENDING and order.route_state in (
        RouteState.OPEN, RouteState.HERE,
    )  # fmt: skip
    if wanted.quantity is not None and is_moving:
        detail = "Its route may still choose another account, which has its own size."
        return ConflictError(Code.CHANGE_UNSUPPORTED, detail)
    return None


def _refusal(denial: Denial) -> FillcastError:
    """Return a denial as an error, with its value and limit."""
    numbers: dict[str, Any] = denial.numbers()
    figures = ""
    if numbers.keys() == {"current", "limit"}:
        figures = f" ({numbers['current']}, limit {numbers['limit']})"
    detail = f"{denial.code.sentence}{figures}"
    if denial.detail:
        detail = f"{detail} {denial.detail}."
    if field := _FIELDS.get(denial.code):
        return InvalidInputError(denial.code, detail, field=field, **numbers)
    return ConflictError(denial.code, detail, **numbers)


def _stored(
    order: Order, allowed: AllowedChange, by: User | None, change: EntryChange
) -> EntryChange:
    """Write the change, and what of it takes effect now."""
    is_sent = order.status != Status.PENDING
    is_limit = order.order_type == OrderType.LIMIT  # held as the leg of an OCO pair
    level = allowed.limit_price if is_limit else allowed.stop_price
    old_quantity = order.quantity if is_sent else order.requested_quantity
    values: dict[str, Any] = {
        "state": ChangeState.REQUESTED,
        "connection_id": order.connection_id,
        "quantity": allowed.quantity,
        "limit_price": allowed.limit_price,
        "stop_price": allowed.stop_price,
        "margin": allowed.margin,
        "risk": allowed.risk,
        "raises_risk": allowed.raises_risk,
        "old_quantity": old_quantity,
        "old_limit_price": order.limit_price,
        "old_stop_price": order.stop_price,
        "old_margin": order.margin,
        "old_risk": order.risk,
        "requested_by": by,
        "requested_name": by.get_username() if by else change.requested_name,
    }
    for name, value in values.items():
        setattr(change, name, value)
    if change.pk is not None:  # what a signal has wanted counts from now
        change.requested_at = change.due_at = database_now()
    detail = describe(change)
    if change.requested_name:
        detail = f"{detail}; by {change.requested_name}"
    values = {
        "id": order.pk,
        "quantity": allowed.quantity,
        "limit": allowed.limit_price,
        "stop": allowed.stop_price,
        "margin": allowed.margin,
        "risk": allowed.risk,
        "level": level,
        "detail": detail[:300],
        "held": None,
    }
    if is_sent:
        run(REQUEST, values)
    else:
        if level != (order.limit_price if is_limit else order.stop_price):
            values["held"] = _move_trigger(values)
        run(CHANGE_UNSENT, values)
        change.state = ChangeState.DONE
        change.done_at = database_now()
    change.save()
    return change


def _move_trigger(values: dict[str, Any]) -> str | None:
    """Move the level of the order's armed trigger; return what the order then waits for."""
    run(MOVE_TRIGGER, values)
    trigger = OrderTrigger.objects.filter(order=values["id"], is_armed=True).first()
    return f"Emulated: {trigger.condition}" if trigger is not None else None


def describe(change: EntryChange) -> str:
    """Return what a change changes, from what to what: `price 1.1 to 1.09`."""
    return ", ".join(
        f"{name} {plain(old) or 'by the preset'} to {plain(new)}"
        for name, old, new in (
            ("quantity", change.old_quantity, change.quantity),
            ("limit price", change.old_limit_price, change.limit_price),
            ("stop price", change.old_stop_price, change.stop_price),
        )
        if old != new
    )
