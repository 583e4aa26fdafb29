"""Which orders an account lists: those that rest, and those of which something was executed.

Made of what every adapter reads: resting orders and the executions since a time. An adapter whose
reports merge orders that have the same client order id shows them apart by a `listed_orders` of its
own. An account whose capabilities have no `fills_horizon` cannot list them
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
    """One order at the broker. executed: base units, of what was executed since the time that was
    asked for; at: the broker's time of its first execution, else when it was placed; None: the
    broker does not state it."""

    client_order_id: str
    broker_order_id: str
    executed: Decimal = ZERO
    at: datetime | None = None


@runtime_checkable
class ListsOrders(Protocol):
    """An adapter that lists orders by itself."""

    async def listed_orders(self, spec: ConnectionSpec, since: datetime) -> list[ListedOrder]:
        """Return every order that rests or was executed since a time. Raises ReadFailed."""
        ...


async def listed_orders(
    adapter: BrokerAdapter, spec: ConnectionSpec, since: datetime
) -> list[ListedOrder]:
    """Return the orders with a client order id that rest or were executed since a broker's time.

    Stops and targets, and exits that the broker or the owner made, are left out. Raises ReadFailed.
    """
    if isinstance(adapter, ListsOrders):
        return await adapter.listed_orders(spec, since)
    resting = await adapter.open_orders(spec)  # first: what is executed meanwhile is in the other
    return merge_orders(resting, await adapter.fills_since(spec, since))


def merge_orders(
    resting: Sequence[BrokerOrder], executed: Sequence[OrderReport]
) -> list[ListedOrder]:
    """Return the orders in two reads, each once."""
    fills: dict[tuple[str, str], dict[str, Execution]] = {}
    for report in executed:
        if report.client_order_id and report.close_cause is None:
            of = fills.setdefault((report.client_order_id, report.broker_order_id), {})
            of.update({fill.broker_fill_id: fill for fill in report.fills})
    found = {
        key: ListedOrder(
            *key, executed_quantity(of.values()), min(fill.time for fill in of.values())
        )
        for key, of in fills.items()
        if of
    }
    for order in resting:
        key = (order.client_order_id, order.broker_order_id)
        if order.client_order_id and key not in found:
            found[key] = ListedOrder(*key, order.filled, order.placed_at)
    return list(found.values())


def executed_quantity(fills: Iterable[Execution]) -> Decimal:
    """Return how much these executions of one order are: the sum that the broker states of it, or
    that of the executions with ids, whichever is more."""
    stated, named = [ZERO], ZERO
    for fill in fills:
        if fill.inferred:
            stated.append(fill.quantity)
        else:
            named += fill.quantity
    return max(named, *stated)
