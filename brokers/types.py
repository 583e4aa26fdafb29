"""What is said between us and a broker, either way: frozen values, no Django."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from common.reason_codes import Code


class Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"

    @property
    def opposite(self) -> "Side":
        return Side.SELL if self is Side.BUY else Side.BUY

    @property
    def sign(self) -> int:
        """+1 for BUY, -1 for SELL."""
        return 1 if self is Side.BUY else -1


class OrderType(StrEnum):
    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP = "STOP"


class TimeInForce(StrEnum):
    GTC = "GTC"
    DAY = "DAY"
    IOC = "IOC"
    FOK = "FOK"


class PositionMode(StrEnum):
    HEDGING = "HEDGING"
    NETTING = "NETTING"


class ExitSafety(StrEnum):
    """How an exit leaves beside live protection without ever reversing the position."""

    TICKET = "TICKET"  # it names the position it closes (MetaTrader hedging, paper)
    REDUCE_ONLY = "REDUCE_ONLY"  # the broker takes no more than is open
    OCA = "OCA"  # it shares an `oca_group` with the protection, so only one of them fills
    CANCEL_FIRST = "CANCEL_FIRST"  # the protection goes first, then at most what is still held


class ReportKind(StrEnum):
    """What a report says. All but the last three are the broker's facts."""

    ACCEPTED = "ACCEPTED"
    FILLED = "FILLED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    CANCEL_REFUSED = "CANCEL_REFUSED"
    LEVELS = "LEVELS"  # the broker says which `levels` it holds for a position
    NOT_SENT = "NOT_SENT"  # our decision
    UNKNOWN = "UNKNOWN"  # our decision


DECISIONS = frozenset({ReportKind.NOT_SENT, ReportKind.UNKNOWN})


class CloseCause(StrEnum):
    """Why the broker executed an exit that we did not send."""

    STOP_LOSS = "STOP_LOSS"
    TAKE_PROFIT = "TAKE_PROFIT"
    EXTERNAL = "EXTERNAL"
    DUST = "DUST"  # ours, not the broker's: what is left is too small to be sold


@dataclass(frozen=True, slots=True)
class HeldLevels:
    """Which levels the broker says that it holds for a position; None: it says that it has none.

    Where it has said nothing there is no HeldLevels: what was sent is never written here.
    protected: how much the stop covers, base units; None: all of the position.
    """

    stop_loss: Decimal | None
    take_profit: Decimal | None
    protected: Decimal | None = None


class LevelsNotReportedError(LookupError):
    """Levels were read of something that does not say which levels the broker holds."""


def reported_levels(levels: HeldLevels | None) -> HeldLevels:
    """Return them. Raises NotToldError where nothing was told: that is not the same as none."""
    if levels is None:
        raise LevelsNotReportedError("the broker has not said which levels it holds")
    return levels


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """One order as it goes to the broker. quantity: base units; prices: quote currency."""

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
    broker_position_id: str = ""  # an exit: what it closes, whatever `symbol` means by now
    closes: str = ""  # an exit: client_order_id of the entry whose position it closes
    oca_group: str = ""  # what shares it shares one fate: when one fills, the others shrink or end
    worst_price: Decimal | None = (
        None  # a market order is never filled beyond it (`worst_price.py`)
    )
    order_id: int = 0  # our row; brokers with a magic number carry it
    fence: int = 0
    send_by: float = 0.0  # machine_time(); past it the order must not leave


@dataclass(frozen=True, slots=True)
class CancelRequest:
    client_order_id: str
    broker_order_id: str
    symbol: str
    send_by: float | None = None  # machine_time(); past it the request must not leave


@dataclass(frozen=True, slots=True)
class ModifyRequest:
    """Levels of a position; None takes one away. A broker whose levels are orders of their own
    makes them for `quantity` (open, base units) and tells it in the LEVELS report (`protected`).
    """

    client_order_id: str  # of the entry
    broker_position_id: str
    symbol: str
    stop_loss: Decimal | None
    take_profit: Decimal | None
    quantity: Decimal | None = None
    send_by: float | None = None  # machine_time(); past it the request must not leave


@dataclass(frozen=True, slots=True)
class Execution:
    """One fill. broker_fill_id is unique per connection. time: the broker's, aware UTC.

    inferred: not an execution that the broker named but a sum that it told: `quantity` is all that
    the order has executed so far, `price` its average, `commission` its sum. Executions with ids
    replace it as they come. Without a broker's order either (an OrderReport with a `close_cause`
    and no `broker_order_id`) it is our conclusion about a position: `quantity` is all of it that
    has been closed, by whatever.
    revision: a broker's correction of an execution has its id and a higher number; it replaces all
    of it: quantity, price, commission and time. One that takes back all of an order is for people.
    commission_currency: '' is the account's own.
    fee_in_base: base units that the fee took out of what was bought, as exchanges do on spot:
    `quantity` is what was executed, the position gets `quantity - fee_in_base`.
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


@dataclass(frozen=True, slots=True)
class OrderReport:
    """What a broker says about one order (or what we decided about a call), for apply_reports.

    A report about an exit that the broker made by itself (its stop or target, or the owner's own
    hand) has `client_order_id` of the *entry*, `close_cause` and `broker_position_id`.
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
    fence: int = 0  # decisions only
    event_id: str = ""  # what to acknowledge to a broker that redelivers
    as_of: datetime | None = None  # set by us: when LEVELS came that had to wait; never by adapters

    @property
    def stop_loss(self) -> Decimal | None:
        """The stop that the broker holds. Raises NotToldError where it has not said."""
        return reported_levels(self.levels).stop_loss

    @property
    def take_profit(self) -> Decimal | None:
        """The target that the broker holds. Raises NotToldError where it has not said."""
        return reported_levels(self.levels).take_profit

    @property
    def protected(self) -> Decimal | None:
        """How much its stop covers. Raises NotToldError where the broker has not said."""
        return reported_levels(self.levels).protected


@dataclass(frozen=True, slots=True)
class AccountState:
    """The account in its own currency. leverage: 30 means 1:30. demo: whether its money is play
    money; None: the broker does not tell. account: its number, as the broker says it.

    identity: what the broker itself calls the account, where `account` is only its owner's own name
    for it (an exchange's user id); the only one among all of the kind's at that exchange.
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
class BrokerPosition:
    """A position that is open at the broker.

    levels: what the broker holds for it; None: that cannot be told from this read, which is not the
    same as none. entry_levels: where levels are orders of their own, what it holds for each entry
    by the entry's client order id; an entry that is not in it has none. None: they are not kept so.
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

    @property
    def stop_loss(self) -> Decimal | None:
        """The stop that the broker holds. Raises NotToldError where that cannot be told."""
        return reported_levels(self.levels).stop_loss

    @property
    def take_profit(self) -> Decimal | None:
        """The target that the broker holds. Raises NotToldError where that cannot be told."""
        return reported_levels(self.levels).take_profit


@dataclass(frozen=True, slots=True)
class BrokerOrder:
    """An order that rests at the broker. quantity and filled: base units."""

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
    client_order_id: str = ""  # where the broker keeps it; not everybody's is ours
    broker_position_id: str = ""  # the position that it closes, if it names one
    placed_at: datetime | None = None  # the broker's time


@dataclass(frozen=True, slots=True)
class Instrument:
    """What can be traded and in which steps. Quantities in base units, distances in price."""

    symbol: str  # the broker's own name
    pair: str  # canonical BASE/QUOTE (or AAPL/USD)
    digits: int
    pip: Decimal
    quantity_min: Decimal
    quantity_step: Decimal
    quantity_max: Decimal
    contract_size: Decimal  # base units in one lot
    stops_level: Decimal = Decimal(0)  # least distance of stops from the price
    margin_rate: Decimal = Decimal(0)  # 0: by the account's leverage
    close_min: Decimal = Decimal(0)  # least quantity of an exit; 0: one step is enough
    close_worth_min: Decimal = Decimal(0)  # least worth of an exit, in quote currency
    tick: Decimal = Decimal(0)  # smallest step of its price; 0: one unit of the last digit


@dataclass(frozen=True, slots=True)
class Quote:
    """Top of book. symbol: canonical pair. time: market clock, aware UTC."""

    symbol: str
    bid: Decimal
    ask: Decimal
    time: datetime


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What an order would cost if it were executed now, by the broker's own reckoning.

    Margins: by how much the account's would change, in `currency`; below zero where the order frees
    some. maintenance_margin: None where the broker knows no such thing. commission: None where it
    is not told before.
    """

    initial_margin: Decimal
    maintenance_margin: Decimal | None
    commission: Decimal | None
    currency: str


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an account can do. Code asks this, never `isinstance` or a broker's name."""

    order_types: frozenset[OrderType]
    times_in_force: frozenset[TimeInForce]
    native_stops: bool
    modify: bool
    position_modes: frozenset[PositionMode]
    partial_close: bool
    event_stream: bool  # `events` tells by itself what happened, and `stream_events` rings
    price_stream: bool  # `stream_quotes` works
    lookup_horizon: timedelta | None  # how far back find_order is sure; None: cannot look up
    refuses_repeated_ids: bool
    exit_safety: ExitSafety
    session: (
        bool  # one process at a time speaks to it: it needs a lane (connections/session_lanes.py)
    )
    needs_credentials: bool
    submit_many: bool = False
    fills_horizon: timedelta | None = None  # how far back fills_since is sure; None: it cannot tell
    quotes: bool = False  # `quote` works
    what_if: bool = False  # `what_if` works
    reports_margin: bool = False  # its margins are its own: `what_if` is asked before each entry
    keeps_worst_price: bool = False  # market orders have a bound of their own; else by a limit
    checks_worst_price: bool = False  # some symbols keep none: compared right before sending only
    names_time_in_force: bool = True  # its answers do; else an order at its bound just ends
    session_key: str = ""  # accounts with the same one share a session, so a lane; '': its own
    lane: str = ""  # its only lane, where a worker must run beside its program ("mt5.main")
    arrives_within: timedelta = timedelta(0)  # so long after leaving, an absence proves nothing
    own_prices: bool = True  # its quotes are its broker's, not those that we tell it ourselves
    # Of these it refuses one whose price the market has reached; else it fills or triggers at once.
    refuses_reached: frozenset[OrderType] = frozenset()
    one_at_a_time: bool = False  # it takes one command at a time: the next waits for the outcome

    @property
    def lists_orders(self) -> bool:
        """Whether its orders and executions can be listed (`brokers/order_listing.py`)."""
        return self.fills_horizon is not None


class CheckResult(StrEnum):
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
    """What an adapter needs to know of one connection; credentials are opened by the caller.

    identity: what its last passed test heard the broker call the account (`AccountState.identity`);
    '': nothing. Where credentials are of another one an adapter makes no call: NotSent or
    ReadFailed ACCOUNT_MISMATCH. What is not there, on another account, proves nothing.
    is_identity_sure: it was heard with these very credentials: nobody need ask again.
    """

    connection_id: str
    account: str
    exchange_name: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    credentials: Mapping[str, str] = field(default_factory=dict)
    identity: str = ""
    is_identity_sure: bool = False
