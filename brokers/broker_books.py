"""What a broker that keeps books for us to see can show: all that it accepted, all that is open.

Optional: an adapter that can show it has a method `journal`. The audit compares it with our rows.
Of other brokers the audit judges what a trading process has listed (`execution/audit/listings.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Protocol, runtime_checkable

from brokers.types import Side


@dataclass(frozen=True, slots=True)
class AcceptedOrder:
    """A client order id that the broker accepted. first_at: when it did first, market clock.

    executed: base units executed under it, where the books state it.
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
    client_order_id: str = ""  # of the entry, where the position is one entry's


@dataclass(frozen=True, slots=True)
class BrokerBooks:
    accepted: Sequence[AcceptedOrder] = field(default_factory=tuple)
    held: Sequence[BookPosition] = field(default_factory=tuple)


@runtime_checkable
class HasBrokerBooks(Protocol):
    """An adapter that can show its books."""

    async def journal(self, tag: str) -> BrokerBooks:
        """Show orders whose client order id begins with `tag`, and everything that is open.

        Raises ReadFailed.
        """
        ...
