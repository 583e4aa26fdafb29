"""What the book works on: the accounts, orders and prices of one transaction, in memory.

Loaded and written back by `queries.py`, decided upon by `book.py` and `matching.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, time
from decimal import Decimal

from brokers.paper.currency_conversion import conversion_rate
from brokers.types import CloseCause, OrderType, PositionMode, Side, TimeInForce
from common.reason_codes import Code

ZERO = Decimal(0)
MAX_AHEAD_SECONDS = 60  # a price further ahead of the market clock is of another session (a replay)


@dataclass(slots=True)
class Listed:
    """An instrument as the broker lists it, with the price in force (None: never quoted)."""

    symbol: str
    pair: str
    digits: int
    pip: Decimal
    quantity_min: Decimal
    quantity_step: Decimal
    quantity_max: Decimal
    contract_size: Decimal
    stops_level: Decimal
    margin_rate: Decimal
    day_ends: time
    quote_max_age_seconds: int
    bid: Decimal = ZERO
    ask: Decimal = ZERO
    quoted_at: datetime | None = None
    base: str = ""
    quote: str = ""

    def __post_init__(self) -> None:
        self.base, _, self.quote = self.pair.partition("/")

    def price(self, side: Side) -> Decimal:
        """The price at which an order of this side executes: a buy at the ask."""
        return self.ask if side is Side.BUY else self.bid

    def is_open(self, now: datetime) -> bool:
        """Whether the price is of this session and young enough to trade on."""
        if self.quoted_at is None:
            return False
        age = (now - self.quoted_at).total_seconds()
        return -MAX_AHEAD_SECONDS <= age <= self.quote_max_age_seconds


class Market:
    """All listed instruments and the rates between currencies at their prices."""

    def __init__(self, listed: list[Listed]) -> None:
        self.by_symbol = {one.symbol: one for one in listed}
        self._quoted = {one.pair: one for one in listed if one.quoted_at is not None}
        self._rates: dict[tuple[str, str], Decimal | None] = {}

    def rate(self, from_currency: str, to_currency: str) -> Decimal | None:
        """Convert at mid prices; None: no quoted pair joins the two."""
        key = (from_currency, to_currency)
        if key not in self._rates:
            self._rates[key] = conversion_rate(self._quoted, from_currency, to_currency)
        return self._rates[key]

    def set_price(self, symbol: str, bid: Decimal, ask: Decimal, time: datetime) -> None:
        """Put a new price in force."""
        one = self.by_symbol[symbol]
        one.bid, one.ask, one.quoted_at = bid, ask, time
        self._quoted[one.pair] = one
        self._rates.clear()


@dataclass(slots=True)
class Exposure:
    """All open lots of one account in one symbol, added up. cost: quantity × entry price."""

    long: Decimal = ZERO
    long_cost: Decimal = ZERO
    short: Decimal = ZERO
    short_cost: Decimal = ZERO

    def add(self, side: Side, quantity: Decimal, price: Decimal) -> None:
        """Open (or, with a negative quantity, close) `quantity` entered at `price`."""
        if side is Side.BUY:
            self.long += quantity
            self.long_cost += quantity * price
        else:
            self.short += quantity
            self.short_cost += quantity * price


@dataclass(slots=True)
class Lot:
    """What is left of one entry. id: the entry's ticket; position: what the owner sees."""

    id: int
    position: int
    account: int
    connection_id: str
    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    stop_loss: Decimal | None
    take_profit: Decimal | None
    opened_at: datetime


@dataclass(slots=True)
class Account:
    """An account under its row lock. lots: by symbol, oldest first, where they were loaded."""

    id: int
    number: str
    currency: str
    balance: Decimal
    leverage: Decimal
    mode: PositionMode
    native_stops: bool
    commission_per_million: Decimal
    trading_allowed: bool
    reject_code: str
    partial_fill_max: Decimal | None
    drop_every_nth: int = 0
    orders_taken: int = 0
    drops_levels: bool = False
    exposures: dict[str, Exposure] = field(default_factory=dict)
    lots: dict[str, list[Lot]] = field(default_factory=dict)

    def exposure(self, symbol: str) -> Exposure:
        """The account's exposure in a symbol, to be changed in place."""
        return self.exposures.setdefault(symbol, Exposure())


@dataclass(slots=True)
class Ticket:
    """One order in the book. `status` WORKING rests; everything else has ended."""

    id: int
    account: int
    connection_id: str
    client_order_id: str
    symbol: str
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    quantity: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    stop_loss: Decimal | None
    take_profit: Decimal | None
    reduce_only: bool
    closes: int | None
    time: datetime
    filled: Decimal = ZERO
    status: str = "WORKING"
    code: Code | None = None
    detail: str = ""
    watch: str = ""
    expires_at: datetime | None = None
    cause: CloseCause | None = None
    entry: int | None = None

    @property
    def left(self) -> Decimal:
        return self.quantity - self.filled

    @property
    def trigger(self) -> Decimal | None:
        """The price that a working order waits for."""
        if self.status != "WORKING" or self.watch == "MARKET":
            return None
        return self.limit_price if self.watch == "LIMIT" else self.stop_price

    def end(self, status: str, code: Code | None = None, detail: str = "") -> None:
        """Leave the book for good."""
        self.status, self.code, self.detail, self.watch = status, code, detail, ""


@dataclass(slots=True)
class Deal:
    """One execution. commission and profit: account currency."""

    id: int
    order: Ticket
    lot: Lot
    is_exit: bool
    quantity: Decimal
    price: Decimal
    commission: Decimal
    profit: Decimal
    time: datetime


class ChangeSet:
    """What a transaction changes, in the order in which it happened."""

    def __init__(self, tickets: Iterator[int]) -> None:
        self.tickets = tickets  # numbers of the venue's one sequence
        self.new_orders: list[Ticket] = []
        self.changed_orders: dict[int, Ticket] = {}
        self.deals: list[Deal] = []
        self.new_lots: list[Lot] = []
        self.changed_lots: dict[int, Lot] = {}
        self.paid: set[int] = set()  # accounts whose balance changed

    def touch(self, lot: Lot) -> None:
        """Note that a lot that the database already has was changed."""
        self.changed_lots[lot.id] = lot
