"""The records of a fake exchange, and the faults that tests inject."""

from dataclasses import dataclass, field
from decimal import Decimal

ZERO, ONE = Decimal(0), Decimal(1)
OPEN = ("NEW", "PARTIALLY_FILLED", "PENDING_NEW", "PENDING_CANCEL")  # the last two: Binance


class RejectedError(Exception):
    """The exchange refused a request. reason: a key of each dialect's table of codes."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass
class Funding:
    """What a perpetual's position was charged (below 0) or paid. quantity: contracts."""

    number: int
    symbol: str
    amount: Decimal
    quantity: Decimal
    time_ms: int


@dataclass(frozen=True)
class Market:
    """A traded symbol. step, tick: of amounts and prices. contract_size: base units in one unit of
    amount. min_amount: the stated minimum; 0: one step. max_market: the most of a market order.
    state: what the exchange's list says of it, in the exchange's word; '': it is traded."""

    base: str
    quote: str
    step: Decimal
    tick: Decimal
    min_cost: Decimal
    contract_size: Decimal = ONE
    min_amount: Decimal = ZERO
    max_market: Decimal = Decimal(9000)
    state: str = ""


@dataclass
class Order:
    """An order in the books. cid: the client order id; time_ms: when it was accepted."""

    number: int
    symbol: str
    side: str  # BUY SELL
    type: str  # MARKET LIMIT
    tif: str
    amount: Decimal
    price: Decimal | None
    cid: str
    reduce_only: bool
    position_side: str  # BOTH LONG SHORT
    time_ms: int
    filled: Decimal = ZERO
    cost: Decimal = ZERO
    status: str = "NEW"
    trigger: Decimal | None = None  # the stop price of a conditional order
    rises: bool | None = None  # whether its price must rise to the trigger; None: by its side
    is_triggered: bool = False
    expires_ms: int = 0  # of a GTD order
    pair: int = 0  # number of the pair of which one order cancels the other; 0: it is in none
    why: dict[str, str] = field(
        default_factory=dict
    )  # further fields of it, in the exchange's words

    def reaches_trigger(self, price: Decimal) -> bool:
        """Whether a price is at the stop price or beyond it."""
        assert self.trigger is not None
        rises = self.side == "BUY" if self.rises is None else self.rises
        return price >= self.trigger if rises else price <= self.trigger

    @property
    def is_untriggered(self) -> bool:
        """Whether it waits for its trigger."""
        return self.is_open and self.trigger is not None and not self.is_triggered

    @property
    def is_level(self) -> bool:
        """Whether it is a stop or target of a position: conditional, and only reduces, or on spot
        sells at market."""
        return self.trigger is not None and (self.reduce_only or self.type == "MARKET")

    @property
    def average(self) -> Decimal:
        return self.cost / self.filled if self.filled else ZERO

    @property
    def is_open(self) -> bool:
        return self.status in OPEN


@dataclass
class Trade:
    """One execution of an order."""

    number: int
    order: Order
    amount: Decimal
    price: Decimal
    fee: Decimal
    fee_currency: str
    realized: Decimal
    time_ms: int
    closed: bool = False  # it reduced a position
    kind: str = "Trade"  # Bybit: BustTrade and AdlTrade are liquidations


@dataclass
class Fault:
    """A fault for the next request of the kind `on`. kind: see server.py."""

    kind: str
    status: int = 500
    body: str = ""
    seconds: float = 0.0
    on: str = "order"  # or "level" (a conditional order), "cancel", "read", "time"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Position:
    """What is open on one symbol and side."""

    amount: Decimal = ZERO  # signed in one-way mode
    entry: Decimal = ZERO
