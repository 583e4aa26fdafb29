"""A working order as its broker lists it, for those who compare it with a change of its terms."""

from collections.abc import Iterable
from uuid import UUID

from brokers.types import BrokerOrder, OrderReport, OrderTerms, ReportKind
from execution.ids import base_of


def listed_order(
    client_order_id: str, broker_order_id: str, listed: Iterable[BrokerOrder]
) -> BrokerOrder | None:
    """Return an order among those that its broker lists, whichever attempt it is listed as."""
    base = base_of(client_order_id)
    for order in listed:
        is_ours = order.client_order_id and base_of(order.client_order_id) == base
        if is_ours or (broker_order_id and order.broker_order_id == broker_order_id):
            return order
    return None


def terms_report(
    *, connection_id: UUID, client_order_id: str, broker_order_id: str, terms: OrderTerms
) -> OrderReport:
    """Return the report that an order has these terms at its broker."""
    return OrderReport(
        kind=ReportKind.CHANGED,
        connection_id=str(connection_id),
        client_order_id=client_order_id,
        broker_order_id=broker_order_id,
        terms=terms,
    )
