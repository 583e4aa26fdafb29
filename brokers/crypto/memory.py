"""What this process remembers of orders it sent: their symbols, when they left, whose they are.

A look-up wants the symbol on most exchanges, and trades name an order by the exchange's number.
It is a help, not a truth: what is not remembered is asked for on every listed symbol, and how long
an absence proves nothing is also told to the engine, which knows it of every process's orders.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

from common.clocks import machine_time

AT_MOST = 10_000
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Sent:
    """symbol; at: machine_time() when it may have left."""

    symbol: str
    at: float


class Bounded(Generic[V]):
    """The latest entries, at most 10,000."""

    def __init__(self, at_most: int = AT_MOST) -> None:
        self._kept: OrderedDict[tuple[str, str], V] = OrderedDict()
        self._most = at_most

    def put(self, connection_id: str, name: str, value: V) -> None:
        key = (connection_id, name)
        self._kept[key] = value
        self._kept.move_to_end(key)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def get(self, connection_id: str, name: str) -> V | None:
        return self._kept.get((connection_id, name))

    def __len__(self) -> int:
        return len(self._kept)


class Memory:
    """sent: by our client order id. owners: our client order id by the exchange's number; '' for an
    order that has none. reducing: whether somebody else's order could only reduce. taken: client
    order ids that the exchange has accepted from us."""

    def __init__(self) -> None:
        self.sent: Bounded[Sent] = Bounded()
        self.owners: Bounded[str] = Bounded()
        self.reducing: Bounded[bool] = Bounded()
        self.taken: Bounded[bool] = Bounded()

    def leaves(self, connection_id: str, client_order_id: str, symbol: str) -> None:
        """An order is about to leave."""
        self.sent.put(connection_id, client_order_id, Sent(symbol, machine_time()))

    def accepted(self, connection_id: str, number: str, client_order_id: str) -> None:
        """The exchange has taken an order, and named it."""
        self.owners.put(connection_id, number, client_order_id)
        self.taken.put(connection_id, client_order_id, True)
