"""The accounts, orders and prices of one transaction, in memory.

`queries.py` loads them, `book.py` and `matching.py` change them, `persistence.py` writes them.
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
    """An instrument of the broker's list with its current price. quoted_at: None: never quoted."""

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
        """Return the price at which an order of this side executes: a buy at the ask."""
        return self.ask if side is Side.BUY else self.bid

    def is_open(self, now: datetime) -> bool:
        """Whether the price is of this session and not stale."""
        if self.quoted_at is None:
            return False
        age = (now - self.quoted_at).total_seconds()
        return -MAX_AHEAD_SECONDS <= age <= self.quote_max_age_seconds


class Market:
    """All listed instruments and the rates between currencies at their prices."""

    def __init__(self, listed: list[Listed]) -> None:
        self.by_symbol = {instrument.symbol: instrument for instrument in listed}
        self._quoted = {
            instrument.pair: instrument for instrument in listed if instrument.quoted_at is not None
        }
        self._rates: dict[tuple[str, str], Decimal | None] = {}

    def rate(self, from_currency: str, to_currency: str) -> Decimal | None:
        """Return the rate at mid prices; None: no quoted pairs connect the currencies."""
        key = (from_currency, to_currency)
        if key not in self._rates:
            self._rates[key] = conversion_rate(self._quoted, from_currency, to_currency)
        return self._rates[key]

    def set_price(self, symbol: str, bid: Decimal, ask: Decimal, time: datetime) -> None:
        instrument = self.by_symbol[symbol]
        instrument.bid, instrument.ask, instrument.quoted_at = bid, ask, time
        self._quoted[instrument.pair] = instrument
        self._rates.clear()


@dataclass(slots=True)
class Exposure:
    """The sums of one account's open lots in one symbol. cost: quantity × entry price."""

    long: Decimal = ZERO
    long_cost: Decimal = ZERO
    short: Decimal = ZERO
    short_cost: Decimal = ZERO

    def add(self, side: Side, quantity: Decimal, price: Decimal) -> None:
        """Add `quantity` entered at `price`; a negative quantity closes."""
        if side is Side.BUY:
            self.long += quantity
            self.long_cost += quantity * price
        else:
            self.short += quantity
            self.short_cost += quantity * price


@dataclass(slots=True)
class Lot:
    """What is still open of one entry. id: the entry's ticket; position: the id the owner sees."""

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
    """An account under its row lock. lots: the loaded ones by symbol, oldest first."""

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
        """Return the account's exposure in a symbol, to be changed in place."""
        return self.exposures.setdefault(symbol, Exposure())


@dataclass(slots=True)
class BookOrder:
    """One order in the book. Every status but WORKING is final.

    id: its ticket; closes: the position that it closes; cause: why the broker itself closes a lot;
    entry: the ticket of the entry that such an exit ends."""

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
        """The price at which a working order executes; None: no such price."""
        if self.status != "WORKING" or self.watch == "MARKET":
            return None
        return self.limit_price if self.watch == "LIMIT" else self.stop_price

    def end(self, status: str, code: Code | None = None, detail: str = "") -> None:
        """End the order with a final status."""
        self.status, self.code, self.detail, self.watch = status, code, detail, ""


@dataclass(slots=True)
class Deal:
    """One execution. commission and profit: account currency."""

    id: int
    order: BookOrder
    lot: Lot
    is_exit: bool
    quantity: Decimal
    price: Decimal
    commission: Decimal
    profit: Decimal
    time: datetime


class ChangeSet:
    """What a transaction changes, in order."""

    def __init__(self, tickets: Iterator[int]) -> None:
        self.tickets = tickets  # ids from the broker's one sequence
        self.new_orders: list[BookOrder] = []
        self.changed_orders: dict[int, BookOrder] = {}
        self.deals: list[Deal] = []
        self.new_lots: list[Lot] = []
        self.changed_lots: dict[int, Lot] = {}
        self.changed_accounts: set[int] = set()  # ids; balance or order count changed

    def touch(self, lot: Lot) -> None:
        """Record a change of a lot that is stored already."""
        self.changed_lots[lot.id] = lot
