"""What stands in an exchange's books, and what can go wrong with them."""

from dataclasses import dataclass, field
from decimal import Decimal

ZERO, ONE = Decimal(0), Decimal(1)
OPEN = ("NEW", "PARTIALLY_FILLED")


class RejectedError(Exception):
    """The venue's no. reason: a word that each dialect has a code for."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Market:
    """What is traded. size: base units in one amount (a contract's). least: the smallest amount
    that is told; 0: a step."""

    base: str
    quote: str
    step: Decimal
    tick: Decimal
    least_cost: Decimal
    size: Decimal = ONE
    least: Decimal = ZERO


@dataclass
class Order:
    number: int
    symbol: str
    side: str  # BUY SELL
    type: str  # MARKET LIMIT
    tif: str
    amount: Decimal
    price: Decimal | None
    cid: str
    reduce_only: bool
    side_of: str  # BOTH LONG SHORT
    at: int
    filled: Decimal = ZERO
    cost: Decimal = ZERO
    status: str = "NEW"

    @property
    def average(self) -> Decimal:
        return self.cost / self.filled if self.filled else ZERO

    @property
    def is_open(self) -> bool:
        return self.status in OPEN


@dataclass
class Trade:
    number: int
    order: Order
    amount: Decimal
    price: Decimal
    fee: Decimal
    fee_currency: str
    realized: Decimal
    at: int
    closed: bool = False  # it took something off a position
    kind: str = "Trade"  # Bybit: BustTrade, AdlTrade are the exchange's own closings


@dataclass
class Fault:
    """What goes wrong with the next order that arrives, or the next read. See server.py."""

    kind: str
    status: int = 500
    body: str = ""
    seconds: float = 0.0
    on: str = "order"  # or "cancel", "read", "time"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Position:
    amount: Decimal = ZERO  # signed in one-way mode
    entry: Decimal = ZERO
