"""Whether an entry can be changed, and to these values: what is known before it is tried."""

from decimal import Decimal
from typing import Any

from common.db.sql import rows
from common.errors import ConflictError, FillcastError, InvalidInputError
from common.limit_figures import text_with_detail
from common.reason_codes import Code
from connections.models import AccountSnapshot
from execution.changes.order_ends import broker_end_error, end_errors
from execution.changes.passed_entries import passed_level
from execution.models import (
    OPEN_CHANGE,
    EntryChange,
    Order,
    RouteState,
    SlicePlan,
    Status,
)
from execution.reports.sql import EFFECTIVE_LEVELS
from execution.submission.change_terms import WantedTerms
from execution.submission.outcomes import SIDES
from execution.submission.sizing import Denial
from signals.models import OrderType

WITH_LIMIT = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT})
WITH_STOP = frozenset({OrderType.STOP, OrderType.STOP_LIMIT, OrderType.IF_TOUCHED})
CHANGEABLE = frozenset({Status.PENDING, Status.SUBMITTED, Status.PARTIALLY_FILLED})
"""The states in which an order may be changed or cancelled at once."""
# The values of a denial that an input field explains.
_FIELDS = {
    Code.CHANGE_BELOW_FILLED: "quantity",
    Code.QUANTITY_BELOW_MINIMUM: "quantity",
    Code.VOLUME_INVALID: "quantity",
}
_LEVEL_FIELDS = {
    Code.STOP_WRONG_SIDE: "stop_loss",
    Code.TARGET_WRONG_SIDE: "take_profit",
}
_UNLIKELY_FIELDS = {"sl": "stop_loss", "targets": "take_profit"}


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


def may_be_cancelled(order: Order) -> bool:
    """Return whether a page offers the cancellation of an order: it waits, none is requested."""
    return order.status in CHANGEABLE and not order.pending_action


def may_be_changed(order: Order) -> bool:
    """Return whether a page offers the change of an order. Reads nothing but its signal."""
    return (
        may_be_cancelled(order)
        and order.leg == "entry"
        and not (order.signal is not None and order.signal.execution_style)
        and (order.status == Status.PENDING or order.order_type != OrderType.MARKET)
        and not _follows_at_broker(order)
    )


def _follows_at_broker(order: Order) -> bool:
    """Return whether its broker moves its price: a change could move that back."""
    return order.status != Status.PENDING and order.order_type == OrderType.TRAILING_STOP


def unfit_terms(order: Order, wanted: WantedTerms) -> FillcastError | None:
    """Return which values an order of this type cannot have."""
    errors = []
    for name, value, types in (
        ("limit_price", wanted.limit_price, WITH_LIMIT),
        ("stop_price", wanted.stop_price, WITH_STOP),
        ("stop_loss", wanted.stop_loss, OrderType),
        ("take_profit", wanted.take_profit, OrderType),
    ):
        if value is not None and order.order_type not in types:
            detail = f"An order of the type {order.order_type} has none."
            errors.append(InvalidInputError(Code.FIELD_INVALID, detail, field=name))
        elif value is not None and value <= 0:
            detail = "It must be above 0."
            errors.append(InvalidInputError(Code.FIELD_INVALID, detail, field=name))
    if not errors:
        errors += _passed_errors(order, wanted)
    if wanted.quantity is not None and wanted.quantity <= 0:
        detail = "It must be above 0."
        errors.append(InvalidInputError(Code.FIELD_INVALID, detail, field="quantity"))
    if wanted.valid_until is not None:
        errors += end_errors(order, wanted.valid_until)
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
    return broker_end_error(order, wanted.valid_until)


def _passed_errors(order: Order, wanted: WantedTerms) -> list[InvalidInputError]:
    """Return which wanted prices lie on the wrong side of the stop or target of now.

    New levels beside them are compared with the prices where they are evaluated.
    """
    prices = {"limit_price": wanted.limit_price, "stop_price": wanted.stop_price}
    if not any(prices.values()):
        return []
    stop, target = coming_levels(order)
    stop = None if wanted.stop_loss is not None else stop
    targets = [] if target is None or wanted.take_profit is not None else [target]
    filled_at = "limit_price" if order.order_type in WITH_LIMIT else "stop_price"
    errors = []
    for name, price in prices.items():
        reached = targets if name == filled_at else []
        figures = price and passed_level(SIDES[order.side].sign, price, None, stop, reached)
        if figures:
            of_stop = figures.word == "stop loss"
            detail = f"{figures.text}. Send another price, or move the {figures.word} with it."
            code = Code.STOP_AT_ENTRY if of_stop else Code.TARGET_WRONG_SIDE
            numbers: dict[str, Any] = figures.as_json()
            errors.append(InvalidInputError(code, detail, field=name, **numbers))
    return errors


def refusal_of(order: Order, denial: Denial, wanted: WantedTerms) -> FillcastError:
    """Return a denial as an error, with its figures."""
    currency = AccountSnapshot.objects.filter(connection=order.connection_id)
    figures = denial.figures(order.pair, currency.values_list("currency", flat=True).first() or "")
    numbers: dict[str, Any] = figures.as_json() if figures else {}
    detail = denial.code.sentence
    if why := text_with_detail(figures, denial.detail):
        detail = f"{detail} {why.removesuffix('.')}."
    fields = _FIELDS | _LEVEL_FIELDS if wanted.has_levels else _FIELDS
    field = fields.get(denial.code)
    if denial.code == Code.PRICE_UNREASONABLE:  # its detail begins with the signal's field
        field = _UNLIKELY_FIELDS.get(denial.detail.partition(" ")[0])
    if field:
        return InvalidInputError(denial.code, detail, field=field, **numbers)
    return ConflictError(denial.code, detail, **numbers)


def coming_levels(order: Order) -> tuple[Decimal | None, Decimal | None]:
    """Return the stop and the next target of an entry's position, open or coming."""
    opened = order.opened_position if order.filled_quantity else None
    if opened is not None and opened.is_open:
        return opened.sl, opened.tp
    [levels] = rows(EFFECTIVE_LEVELS, ([order.signal_id],))
    target = levels.targets[0] if levels.targets else None
    return order.own_stop_loss or levels.sl, order.own_take_profit or target
