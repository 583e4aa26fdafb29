"""Change the price of a waiting order. The command that sets levels has a field for it.

The command writes all of price, levels and expiry, and has no field for the lots.
"""

from decimal import Decimal
from functools import partial

from brokers.base import OutcomeUnknown, Rejected, check_deadline
from brokers.dwx import codes, parse
from brokers.dwx.client import DwxClient
from brokers.dwx.orders import expiry_of, wait_for_outcome
from brokers.dwx.parse import Snapshot, Ticket
from brokers.dwx.preflight import as_not_sent, check_levels, is_part_filled, waiting_ticket
from brokers.types import (
    ChangeRequest,
    OrderField,
    OrderReport,
    OrderTerms,
    OrderType,
    ReportKind,
)
from common.reason_codes import Code


async def change_order(client: DwxClient, request: ChangeRequest) -> list[OrderReport]:
    """Give a waiting order another price, in a turn.

    Raises NotSent, Rejected or OutcomeUnknown. An order that is filled meanwhile is unknown: the
    files do not show at which price it waited.
    """
    if OrderField.QUANTITY in request.fields:
        raise Rejected(Code.CHANGE_UNSUPPORTED, "MetaTrader does not change an order's lots")
    lots = client.lots(request.symbol)
    is_limit = request.order_type is OrderType.LIMIT
    named = request.terms.limit_price if is_limit else request.terms.stop_price
    price = lots.price(named, request.side, request.order_type)
    with as_not_sent():
        books = await client.traced(await client.snapshot())
        ticket = _waiting(books.snapshot, request)
        levels = (ticket.stop_loss, ticket.take_profit)
        await check_levels(client, request.symbol, ticket.side, Decimal(price), *levels)
    check_deadline(request)
    if parse.is_same_price(ticket.price, Decimal(price)):
        return [_changed(client, request, ticket)]
    stop, target = (lots.level(one, ticket.side) for one in levels)
    sent = await client.terminal.send(
        client.terminal.next_number(), "MODIFY_ORDER",
        f"{ticket.number},{price},{stop},{target},{expiry_of(books, ticket.magic)}",
        partial(check_deadline, request),
    )  # fmt: skip

    async def effect(snapshot: Snapshot) -> list[OrderReport] | None:
        now = [one for one in snapshot.tickets if one.number == ticket.number]
        if not now or any(one.is_position for one in now):
            raise OutcomeUnknown(Code.REPLY_LOST, "The order was filled or has ended meanwhile.")
        if not parse.is_same_price(now[0].price, Decimal(price)):
            return None
        return [_changed(client, request, now[0])]

    return await wait_for_outcome(client, sent, codes.MODIFYING, effect)


def _waiting(snapshot: Snapshot, request: ChangeRequest) -> Ticket:
    """Return the ticket of the waiting order. Raises Rejected."""
    ticket = waiting_ticket(snapshot, request)
    if ticket is None or ticket.is_position:
        raise Rejected(Code.ORDER_ENDED, "The terminal holds no such waiting order.")
    if is_part_filled(snapshot, ticket.number):  # the command would name the position
        raise Rejected(Code.CHANGE_UNSUPPORTED, "A part of it has filled.")
    return ticket


def _changed(client: DwxClient, request: ChangeRequest, ticket: Ticket) -> OrderReport:
    is_limit = request.order_type is OrderType.LIMIT
    return OrderReport(
        kind=ReportKind.CHANGED,
        connection_id=client.spec.connection_id,
        client_order_id=request.client_order_id,
        broker_order_id=str(ticket.number),
        terms=OrderTerms(
            request.terms.quantity,
            ticket.price if is_limit else None,
            None if is_limit else ticket.price,
        ),
    )
