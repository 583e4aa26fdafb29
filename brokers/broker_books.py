"""A broker's own books: every order that it accepted and every open position.

Optional: an adapter that can read them has a method `journal`. The audit compares them with our
rows. For other brokers it uses what a trading process has listed (`execution/audit/listings.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Protocol, runtime_checkable

from brokers.types import Side


@dataclass(frozen=True, slots=True)
class AcceptedOrder:
    """A client order id that the broker accepted. first_at: first time, market clock.

    times: how often it was accepted. executed: base units executed under it, if the books state it.
    """

    connection_id: str
    client_order_id: str
    times: int
    first_at: datetime
    executed: Decimal | None = None


@dataclass(frozen=True, slots=True)
class BookPosition:
    """An open position; a netting account shows one for all entries of a symbol."""

    connection_id: str
    broker_position_id: str
    side: Side
    quantity: Decimal
    client_order_id: str = ""  # of the entry, if the position has only one


@dataclass(frozen=True, slots=True)
class BrokerBooks:
    """What the broker's books contain."""

    accepted: Sequence[AcceptedOrder] = field(default_factory=tuple)
    positions: Sequence[BookPosition] = field(default_factory=tuple)


@runtime_checkable
class HasBrokerBooks(Protocol):
    """An adapter that can read its broker's books."""

    async def journal(self, id_prefix: str) -> BrokerBooks:
        """Return orders whose client order id begins with `id_prefix`, and all open positions.

        Raises ReadFailed.
        """
        ...
