"""Fills that a foreign connector reports: read strictly, then applied as an adapter's reports."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from brokers.types import MAX_FILL_ID_LENGTH, Execution, OrderReport, ReportKind
from buses.incoming.models import BusMessage
from common.errors import InvalidInputError
from common.money import read_decimal
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution.dispatch.report_writer import apply_with_bisection
from execution.ids import all_attempts
from execution.models import Order
from signals.reading.errors import InvalidSignalError
from signals.reading.fields import Fields
from signals.reading.intake import parsed_object

KINDS = ("ACCEPTED", "FILLED", "REJECTED", "CANCELLED", "EXPIRED")
MAX_FILLS = 100


class NotYetError(Exception):
    """Another report must come first, or another session has locked the rows."""


def read_report(
    body: bytes, connection: ExecutionConnection
) -> tuple[OrderReport, Mapping[str, str]]:
    """Return the report of a message, and what it says of the order: symbol and side, if given.

    Raises InvalidInputError with all field errors.
    """
    fields = Fields(parsed_object(body))
    kind = fields.choice("kind", KINDS)
    if not fields.has("kind"):
        fields.add_error(Code.FIELD_REQUIRED, "kind", f"kind is one of {', '.join(KINDS)}.")
    client_order_id = fields.text("client_order_id", 18)
    if not client_order_id:
        fields.add_error(Code.FIELD_REQUIRED, "client_order_id", "Of which order?")
    described = {
        "symbol": fields.text("symbol", 60), "side": fields.choice("side", ("BUY", "SELL")),
    }  # fmt: skip
    broker_order_id = fields.text("broker_order_id", 100)
    broker_position_id = fields.text("broker_position_id", 100)
    detail = fields.text("detail", 500)
    fills = tuple(filter(None, (_read_fill(item) for item in fields.objects("fills", MAX_FILLS))))
    if kind == "FILLED" and not fills:
        fields.add_error(Code.FIELD_REQUIRED, "fills", "FILLED needs its fills.")
    elif kind and kind != "FILLED" and fills:
        fields.add_error(Code.FIELD_INVALID, "fills", "Only FILLED has fills.")
    fields.refuse_unknown()
    if fields.errors:
        raise InvalidSignalError(fields.errors)
    return OrderReport(
        kind=ReportKind(kind),
        connection_id=str(connection.pk),
        client_order_id=client_order_id,
        fills=fills,
        code=Code.REJECTED_BY_BROKER if kind == "REJECTED" else None,
        broker_order_id=broker_order_id,
        broker_position_id=broker_position_id,
        detail=detail,
    ), {name: value for name, value in described.items() if value}


def _read_fill(item: Fields) -> Execution | None:
    for name in ("fill_id", "quantity", "price", "time"):
        if not item.has(name):
            item.add_error(Code.FIELD_REQUIRED, name, f"A fill needs its {name}.")
    fill_id = item.text("fill_id", MAX_FILL_ID_LENGTH)
    quantity, price, time = item.decimal("quantity"), item.decimal("price"), item.moment("time")
    commission = _commission(item)
    currency = item.text("commission_currency", 10)
    item.refuse_unknown()
    if not fill_id or quantity is None or price is None or time is None:
        return None
    return Execution(
        broker_fill_id=fill_id, quantity=quantity, price=price, time=time, commission=commission,
        commission_currency=currency,
    )  # fmt: skip


def _commission(item: Fields) -> Decimal:
    """Read what a fill cost; below 0 for a rebate."""
    value = item.raw("commission")
    try:
        return Decimal(0) if value is None else read_decimal(value, field="commission")
    except InvalidInputError as error:
        item.add_error(error.code, "commission", error.detail)
        return Decimal(0)


def apply_from_bus(connection: ExecutionConnection, message: BusMessage, *, is_last: bool) -> None:
    """Apply the report of a message. Not in a transaction: the report has its own.

    is_last: it does not wait for other reports any more. Raises InvalidInputError,
    REPORTED_ORDER_UNKNOWN; NotYetError; database errors.
    """
    report, described = read_report(bytes(message.body), connection)
    _require_order(connection, report, described)
    not_applied = apply_with_bisection([report], defer_overfills=not is_last)
    if not_applied.reports:
        raise NotYetError


def _require_order(
    connection: ExecutionConnection, report: OrderReport, described: Mapping[str, str]
) -> None:
    """Raise unless the account has the order that the report names, as it describes it."""
    attempts = all_attempts(report.client_order_id)
    orders = Order.objects.filter(client_order_id__in=attempts, connection=connection)
    order = orders.first()
    if order is None:
        detail = f"The account has no order {report.client_order_id!r}."
        raise InvalidInputError(Code.REPORTED_ORDER_UNKNOWN, detail, field="client_order_id")
    known: dict[str, Any] = {"symbol": (order.symbol, order.pair), "side": (order.side,)}
    for name, value in described.items():
        if value not in known[name]:
            detail = f"{order.client_order_id} is for {known[name][0]}, not {value}."
            raise InvalidInputError(Code.FIELD_INVALID, detail, field=name)
    filled = sum((fill.quantity for fill in report.fills), Decimal(0))
    if order.quantity is not None and filled > order.quantity:
        detail = f"{filled} is more than the order's {order.quantity}."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field="fills")
