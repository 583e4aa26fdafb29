"""The values that we exchange with a broker: requests, reports, account state. Free of Django."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from brokers.trading_hours import TradingHours
from common.reason_codes import Code


class Side(StrEnum):
    """Direction of an order or a position."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def opposite(self) -> "Side":
        """The side that closes a position of this side."""
        return Side.SELL if self is Side.BUY else Side.BUY

    @property
    def sign(self) -> int:
        """+1 for BUY, -1 for SELL."""
        return 1 if self is Side.BUY else -1


class OrderType(StrEnum):
    """How the price of an order is found."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP = "STOP"
    STOP_LIMIT = "STOP_LIMIT"  # at its stop price it becomes a limit order
    TRAILING_STOP = "TRAILING_STOP"  # a stop order whose stop price follows the market

    @property
    def has_limit_price(self) -> bool:
        """Whether it has a `limit_price`."""
        return self in (OrderType.LIMIT, OrderType.STOP_LIMIT)

    @property
    def has_stop_price(self) -> bool:
        """Whether it has a fixed `stop_price`, at which it is triggered; that of a trailing stop
        moves."""
        return self in (OrderType.STOP, OrderType.STOP_LIMIT)


class TimeInForce(StrEnum):
    """How long an order works.

    GTC until cancelled, GTD until its `expires_at`, DAY this day; IOC and FOK at once, in part or
    in full.
    """

    GTC = "GTC"
    GTD = "GTD"
    DAY = "DAY"
    IOC = "IOC"
    FOK = "FOK"


class OrderField(StrEnum):
    """What of a working order a broker changes in place: it stays the same order."""

    PRICE = "PRICE"  # its limit price and its stop price
    QUANTITY = "QUANTITY"


class PositionMode(StrEnum):
    """Whether an account has one position for each entry (HEDGING) or for each symbol (NETTING)."""

    HEDGING = "HEDGING"
    NETTING = "NETTING"


class ExitSafety(StrEnum):
    """How an exit is sent beside live protection without ever reversing the position."""

    TICKET = "TICKET"  # it names the position it closes (MetaTrader hedging, paper)
    REDUCE_ONLY = "REDUCE_ONLY"  # the broker fills no more than is open
    OCA = "OCA"  # it shares an `oca_group` with the protection, so only one of them fills
    CANCEL_FIRST = "CANCEL_FIRST"  # cancel the protection, then exit at most what is still open


class ReportKind(StrEnum):
    """What a report states. All but the last two are facts from the broker."""

    ACCEPTED = "ACCEPTED"
    FILLED = "FILLED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    CANCEL_REFUSED = "CANCEL_REFUSED"
    CHANGED = "CHANGED"  # the `terms` that a working order has now
    LEVELS = "LEVELS"  # which `levels` the broker holds for a position
    NOT_SENT = "NOT_SENT"  # our decision
    UNKNOWN = "UNKNOWN"  # our decision


DECISIONS = frozenset({ReportKind.NOT_SENT, ReportKind.UNKNOWN})


class CloseCause(StrEnum):
    """Why the broker executed an exit that we did not send."""

    STOP_LOSS = "STOP_LOSS"
    TAKE_PROFIT = "TAKE_PROFIT"
    EXTERNAL = "EXTERNAL"
    STOP_OUT = "STOP_OUT"  # by the broker, mostly for lack of margin: a liquidation
    EXPIRY = "EXPIRY"  # by the broker: the contract expired, or its market was settled
    DUST = "DUST"  # our decision: the remainder is too small to be sold


@dataclass(frozen=True, slots=True)
class HeldLevels:
    """The levels that the broker reports for a position; None: it reports that there is none.

    Without such a report there is no HeldLevels: never build one from what we sent.
    protected: quantity that the stop covers, base units; None: the whole position.
    """

    stop_loss: Decimal | None
    take_profit: Decimal | None
    protected: Decimal | None = None


class LevelsNotReportedError(LookupError):
    """Levels were read from a report or position for which the broker reported none."""


def reported_levels(levels: HeldLevels | None) -> HeldLevels:
    """Return the levels. Raises LevelsNotReportedError for None: unknown is not "no level"."""
    if levels is None:
        raise LevelsNotReportedError("the broker has not reported which levels it holds")
    return levels


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """One order as it is sent. quantity: base units; prices: quote currency.

    A TRAILING_STOP has the distance at which it follows, and its first `stop_price`.
    """

    client_order_id: str
    connection_id: str
    account: str
    symbol: str  # the broker's own name
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    quantity: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    reduce_only: bool = False
    broker_position_id: str = ""  # an exit: the position it closes, even if `symbol` was remapped
    closes: str = ""  # an exit: client_order_id of the entry of the position it closes
    oca_group: str = ""  # when one order of the group fills, the others are reduced or cancelled
    worst_price: Decimal | None = None  # a market order's limit (`worst_price.py`)
    expires_at: datetime | None = None  # GTD only: the broker ends the order then
    trail_distance: Decimal | None = None  # TRAILING_STOP only
    order_id: int = 0  # our row; brokers with a magic number carry it
    fence: int = 0
    send_by: float = 0.0  # machine_time(); past it the order must not leave


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """One order to cancel."""

    client_order_id: str
    broker_order_id: str
    symbol: str
    send_by: float | None = None  # machine_time(); past it the request must not leave


@dataclass(frozen=True, slots=True)
class OrderTerms:
    """Quantity and prices of a working order. quantity: all of it, what has filled included."""

    quantity: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """New terms of a working order, which stays the same order at the broker.

    terms: all that it shall have; what does not change is the same as in `present`.
    """

    client_order_id: str
    broker_order_id: str
    connection_id: str
    symbol: str
    side: Side
    order_type: OrderType
    terms: OrderTerms
    present: OrderTerms
    send_by: float | None = None  # machine_time(); past it the request must not leave

    @property
    def fields(self) -> frozenset[OrderField]:
        changed = set()
        if self.terms.quantity != self.present.quantity:
            changed.add(OrderField.QUANTITY)
        if (self.terms.limit_price, self.terms.stop_price) != (
            self.present.limit_price,
            self.present.stop_price,
        ):
            changed.add(OrderField.PRICE)
        return frozenset(changed)


@dataclass(frozen=True, slots=True)
class ModifyRequest:
    """New levels of a position; None removes one.

    A broker that keeps levels as separate orders places them for `quantity` (the open quantity,
    base units) and states it in the LEVELS report (`protected`).
    """

    client_order_id: str  # of the entry
    broker_position_id: str
    symbol: str
    stop_loss: Decimal | None
    take_profit: Decimal | None
    quantity: Decimal | None = None
    send_by: float | None = None  # machine_time(); past it the request must not leave


MAX_FILL_ID_LENGTH = 100


@dataclass(frozen=True, slots=True)
class Execution:
    """One fill. broker_fill_id is unique per connection, and not longer than MAX_FILL_ID_LENGTH.
    time: the broker's, aware UTC.

    inferred: not one execution of the broker but a cumulative sum: `quantity` is all that the order
    has executed so far, `price` its average, `commission` its sum. Executions with ids replace it
    as they arrive. Without a broker order either (an OrderReport with a `close_cause` and no
    `broker_order_id`) we inferred it from a position: `quantity` is all of it that was closed, for
    any reason.
    revision: a correction has the id of the execution and a higher number; it replaces quantity,
    price, commission and time. A correction that undoes a whole order is left to an operator.
    commission_currency: '' is the account's own.
    swap: what holding the position cost or earned until then, as the broker booked it with this
    execution: account currency, below 0 if it was charged.
    fee_in_base: base units that the fee takes from what was bought, as spot exchanges do:
    `quantity` is what was executed, the position gets `quantity - fee_in_base`.
    is_commission_only: states only the commission of the stored fill with this id and no higher
    revision, for a broker that sends it apart from the execution and may have sent the execution
    before. It never changes anything else, and never adds a fill. The other fields are the
    execution's, and the execution itself, with the commission, is in the same report before it:
    so it does not matter whether the fill is stored already.
    """

    broker_fill_id: str
    quantity: Decimal
    price: Decimal
    time: datetime
    commission: Decimal = Decimal(0)
    commission_currency: str = ""
    inferred: bool = False
    revision: int = 0
    fee_in_base: Decimal = Decimal(0)
    swap: Decimal = Decimal(0)
    is_commission_only: bool = False


@dataclass(frozen=True, slots=True)
class OrderReport:
    """What a broker reports about one order (or what we decided about a call), for apply_reports.

    A report about an exit that we did not send (the broker's stop or target, or the owner's manual
    close) has the `client_order_id` of the *entry*, `close_cause` and `broker_position_id`.
    """

    kind: ReportKind
    connection_id: str
    client_order_id: str
    broker_order_id: str = ""
    broker_position_id: str = ""
    fills: tuple[Execution, ...] = ()
    code: Code | None = None
    detail: str = ""
    close_cause: CloseCause | None = None
    levels: HeldLevels | None = None
    terms: OrderTerms | None = None  # CHANGED only
    fence: int = 0  # decisions only
    event_id: str = ""  # to acknowledge, if the broker delivers again until then
    as_of: datetime | None = None  # arrival of LEVELS that we deferred; never set by adapters

    @property
    def stop_loss(self) -> Decimal | None:
        """The stop that the broker holds. Raises LevelsNotReportedError if it is unknown."""
        return reported_levels(self.levels).stop_loss

    @property
    def take_profit(self) -> Decimal | None:
        """The target that the broker holds. Raises LevelsNotReportedError if it is unknown."""
        return reported_levels(self.levels).take_profit

    @property
    def protected(self) -> Decimal | None:
        """Quantity that its stop covers. Raises LevelsNotReportedError if it is unknown."""
        return reported_levels(self.levels).protected


@dataclass(frozen=True, slots=True)
class AccountState:
    """Money and margins, in the account's currency. leverage: 30 means 1:30.

    account: its number as the broker spells it. demo: whether it has virtual money; None: the
    broker does not state it. identity: the broker's own id (an exchange's user id) if `account` is
    only a name that the owner chose; unique for the broker type and exchange.
    """

    account: str
    currency: str
    balance: Decimal
    equity: Decimal
    margin_used: Decimal
    free_margin: Decimal
    leverage: Decimal
    position_mode: PositionMode
    time: datetime
    trading_allowed: bool = True
    demo: bool | None = None
    identity: str = ""


@dataclass(frozen=True, slots=True)
class BrokerCashFlow:
    """Money that was put into an account or taken out of it, as its broker states it.

    reference: the broker's own number, unique for the account and the same in each read. amount:
    account currency, below 0 for a withdrawal. time: the broker's, aware UTC. is_credit: it changes
    the equity but not the balance, as money that the broker lends.
    """

    reference: str
    amount: Decimal
    time: datetime
    is_credit: bool = False


@dataclass(frozen=True, slots=True)
class BrokerFunding:
    """What a perpetual's position was charged or paid at one of its funding times.

    reference: the broker's own number, unique for the account and the same in each read. symbol:
    the broker's own. amount: below 0 if it was charged. time: the broker's, aware UTC. quantity: of
    the whole position at the broker, base units; None: the broker does not state it.
    """

    reference: str
    symbol: str
    amount: Decimal
    currency: str
    time: datetime
    quantity: Decimal | None = None


@dataclass(frozen=True, slots=True)
class BrokerPosition:
    """A position that is open at the broker.

    levels: what the broker holds for it; None: unknown from this read, which is not "no level".
    entry_levels: levels by the entry's client order id, if the broker keeps levels as separate
    orders; an entry that is missing has none. None: the broker does not keep them so. is_tradable:
    False if the account holds it and the broker no longer lists its symbol. balance: where balances
    are positions, all that is held, of which `quantity` can be sold; None elsewhere. is_readable:
    False if it is listed and could not be read: it proves only that something is open in its
    symbol; '': in any (`unreadable_position`).
    """

    broker_position_id: str
    symbol: str
    side: Side
    quantity: Decimal
    entry_price: Decimal
    levels: HeldLevels | None = None
    client_order_id: str = ""  # of the entry, where the broker keeps it
    opened_at: datetime | None = None
    entry_levels: Mapping[str, HeldLevels] | None = None
    is_tradable: bool = True
    balance: Decimal | None = None
    is_readable: bool = True

    @property
    def stop_loss(self) -> Decimal | None:
        """The stop that the broker holds. Raises LevelsNotReportedError if it is unknown."""
        return reported_levels(self.levels).stop_loss

    @property
    def take_profit(self) -> Decimal | None:
        """The target that the broker holds. Raises LevelsNotReportedError if it is unknown."""
        return reported_levels(self.levels).take_profit


def unreadable_position(broker_position_id: str, symbol: str) -> BrokerPosition:
    """Return what stands for a position that could not be read. symbol: '' if it is not known."""
    zero = Decimal(0)
    return BrokerPosition(broker_position_id, symbol, Side.BUY, zero, zero, is_readable=False)


@dataclass(frozen=True, slots=True)
class BrokerOrder:
    """A working order. quantity and filled: base units.

    level_of: client order id of the entry whose stop or target it is, if it has outlived the
    position. Levels of open positions are not orders. stop_price: of a trailing stop the present
    one.
    """

    broker_order_id: str
    symbol: str
    side: Side
    order_type: OrderType
    quantity: Decimal
    filled: Decimal = Decimal(0)
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    client_order_id: str = ""  # if the broker keeps it; it may be another program's
    broker_position_id: str = ""  # the position that it closes, if it names one
    placed_at: datetime | None = None  # the broker's time
    level_of: str = ""
    trail_distance: Decimal | None = None  # TRAILING_STOP only

    @property
    def terms(self) -> OrderTerms:
        """What a change of the order can change."""
        return OrderTerms(self.quantity, self.limit_price, self.stop_price)


@dataclass(frozen=True, slots=True)
class Instrument:
    """A tradable symbol, its steps and limits. Quantities: base units; distances: price."""

    symbol: str  # the broker's own name
    pair: str  # canonical BASE/QUOTE (or AAPL/USD)
    digits: int
    pip: Decimal
    quantity_min: Decimal
    quantity_step: Decimal
    quantity_max: Decimal
    contract_size: Decimal  # base units in one lot
    stops_level: Decimal = Decimal(0)  # minimum distance of stops from the price
    margin_rate: Decimal = Decimal(0)  # 0: use the account's leverage
    worth_min: Decimal = Decimal(0)  # minimum value of an entry, in quote currency; 0: none stated
    close_min: Decimal = Decimal(0)  # minimum quantity of an exit; 0: one step
    close_worth_min: Decimal = Decimal(0)  # minimum value of an exit, in quote currency
    tick: Decimal = Decimal(0)  # price step; 0: one unit of the last digit
    exchange: str = ""  # the broker's name for its exchange; not needed with `hours`
    hours: TradingHours | None = None  # as the broker states them
    freeze_level: Decimal = Decimal(0)  # nothing nearer to the price can be changed
    price_steps: tuple[tuple[Decimal, Decimal], ...] = ()  # where ticks depend on the price: from
    # which price on, and the tick there, ascending


@dataclass(frozen=True, slots=True)
class Quote:
    """Top of book. symbol: canonical pair. time: market clock, aware UTC."""

    symbol: str
    bid: Decimal
    ask: Decimal
    time: datetime


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The broker's own estimate of what an order would cost if it were executed now.

    Margins: change of the account's margin in `currency`; negative if the order frees some.
    maintenance_margin: None if the broker has no such figure. commission: None if it is not known
    before the fill.
    """

    initial_margin: Decimal
    maintenance_margin: Decimal | None
    commission: Decimal | None
    currency: str


class CheckResult(StrEnum):
    """The result of one check of a connection test."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One named line of a connection test."""

    name: str
    result: CheckResult
    detail: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class ConnectionSpec:
    """What an adapter needs of one connection. The caller decrypts the credentials.

    identity: the account's `AccountState.identity` in the last test that passed; '': none. If the
    credentials belong to another account the adapter makes no call and raises NotSent or
    ReadFailed ACCOUNT_MISMATCH: an absence on another account proves nothing.
    is_identity_sure: the identity was read with these same credentials; no need to read it again.
    """

    connection_id: str
    account: str
    exchange_name: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    credentials: Mapping[str, str] = field(default_factory=dict)
    identity: str = ""
    is_identity_sure: bool = False
