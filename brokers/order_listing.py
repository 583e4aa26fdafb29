"""List an account's orders: the working ones, and those with executions.

The list is built from two reads that every adapter has: working orders, and executions since a
time. An adapter whose reports merge orders with the same client order id implements `listed_orders`
to list them separately. An account without `fills_horizon` in its capabilities cannot list orders
(`Capabilities.lists_orders`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol, runtime_checkable

from brokers.base import BrokerAdapter
from brokers.types import BrokerOrder, ConnectionSpec, Execution, OrderReport

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class ListedOrder:
    """One order at the broker.

    executed: base units, since the requested time. at: broker's time of its first execution, else
    of its placement; None: the broker does not state it.
    """

    client_order_id: str
    broker_order_id: str
    executed: Decimal = ZERO
    at: datetime | None = None


@runtime_checkable
class ListsOrders(Protocol):
    """An adapter with an order list of its own."""

    async def listed_orders(self, spec: ConnectionSpec, since: datetime) -> list[ListedOrder]:
        """Return every order that works or was executed since a time. Raises ReadFailed."""
        ...


async def listed_orders(
    adapter: BrokerAdapter, spec: ConnectionSpec, since: datetime
) -> list[ListedOrder]:
    """Return the orders with a client order id that work or were executed since a broker time.

    It leaves out stops, targets, and exits that the broker or the owner made. Raises ReadFailed.
    """
    if isinstance(adapter, ListsOrders):
        return await adapter.listed_orders(spec, since)
    working = await adapter.open_orders(spec)  # first: the second read has what fills in between
    return merge_orders(working, await adapter.fills_since(spec, since))


def merge_orders(
    working: Sequence[BrokerOrder], executed: Sequence[OrderReport]
) -> list[ListedOrder]:
    """Return the orders of both reads, each once."""
    fills_by_order: dict[tuple[str, str], dict[str, Execution]] = {}
    for report in executed:
        if report.client_order_id and report.close_cause is None:
            key = report.client_order_id, report.broker_order_id
            order_fills = fills_by_order.setdefault(key, {})
            order_fills.update({fill.broker_fill_id: fill for fill in report.fills})
    found = {
        key: ListedOrder(
            *key, executed_quantity(fills.values()), min(fill.time for fill in fills.values())
        )
        for key, fills in fills_by_order.items()
        if fills
    }
    for order in working:
        key = (order.client_order_id, order.broker_order_id)
        if order.client_order_id and key not in found:
            found[key] = ListedOrder(*key, order.filled, order.placed_at)
    return list(found.values())


def executed_quantity(fills: Iterable[Execution]) -> Decimal:
    """Return the executed quantity of one order, base units.

    It is the larger of the cumulative quantity that the broker states and the sum of the executions
    with ids."""
    cumulative, summed = [ZERO], ZERO
    for fill in fills:
        if fill.inferred:
            cumulative.append(fill.quantity)
        else:
            summed += fill.quantity
    return max(summed, *cumulative)
