"""The input of an order's evaluation, and its possible decisions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from brokers.types import OrderType, Side, TimeInForce
from common.money import plain
from common.operational.document import OrderDefaults
from common.reason_codes import Code
from common.units import Unit
from execution.exits.safety import ExitBlocker
from execution.models import Status, TriggerKind
from execution.reports.transitions import NOT_REACHED
from execution.submission.order_levels import with_own_levels
from execution.submission.recent import RecentRow
from execution.submission.rows import (
    ExitRow,
    InstrumentRow,
    OrderRow,
    QuoteRow,
    SignalRow,
    SourceRow,
)
from execution.submission.signal_limits import SignalTotals
from execution.submission.sizing import ZERO, Denial
from execution.submission.slicing import PlanState, Slice
from execution.submission.volume_profile import VolumeProfile
from signals.symbols import slippage_unit

# A row's texts as enums: a dictionary costs a tenth of the enum's own conversion.
SIDES = {side.value: side for side in Side}
ORDER_TYPES = {order_type.value: order_type for order_type in OrderType}
TIMES_IN_FORCE = {time.value: time for time in TimeInForce}


class Awaited(NamedTuple):
    """A condition that does not hold. is_over: it never will. not_before: market time, if that is
    what the entry waits for now. text: what it waits for, for its owner."""

    is_over: bool
    not_before: datetime | None
    text: str


class Atr(NamedTuple):
    """The average true range of a pair; value None: too few candles. minutes: of a candle."""

    value: Decimal | None
    candles: int
    minutes: int


class MovedTrail(NamedTuple):
    """A trailing stop that is armed by the prices of a source that its account had before.

    Quote currency. is_active: its activation price was reached, or it has none.
    """

    distance: Decimal
    activation_price: Decimal | None
    is_active: bool


@dataclass(frozen=True, slots=True)
class EvaluationContext:
    """What the orders of a bundle are decided by, loaded once for all of them."""

    signals: Mapping[int, SignalRow]
    instruments: Mapping[tuple[str, str], InstrumentRow]  # by (book, pair) and by (book, symbol)
    quotes: Mapping[int, Mapping[str, QuoteRow]]  # by price source, then by pair
    exits: Mapping[int, ExitRow]  # rows of `claim_sql.EXITS`, by order id
    now: datetime  # market clock
    market_entry_max_age_seconds: int = 60  # maximum signal age of a market entry
    order_defaults: OrderDefaults = field(default_factory=OrderDefaults)
    # Price sources by id; loaded only where an entry of the bundle lacks a price.
    sources: Mapping[int, SourceRow] = field(default_factory=dict)
    # Margin of one base unit as brokers calculated it, by order id.
    margins: Mapping[int, Decimal] = field(default_factory=dict)
    # What accounts have sent and hold, by order id; loaded only for limits that count it.
    recent: Mapping[int, RecentRow] = field(default_factory=dict)
    plans: Mapping[int, PlanState] = field(default_factory=dict)  # of slices, by order id
    volumes: Mapping[int, VolumeProfile] = field(default_factory=dict)  # by order id
    # Conditions that do not hold, by order id. Entries of a preview have none here.
    awaited: Mapping[int, Awaited] = field(default_factory=dict)
    # Entries that no account of their route may take, by order id.
    unroutable: Mapping[int, Denial] = field(default_factory=dict)
    # Entries whose positions would be closed at once, by order id: why. A preview has none here.
    closed_by: Mapping[int, str] = field(default_factory=dict)
    atrs: Mapping[int, Atr] = field(default_factory=dict)  # where it is a distance, by order id
    # Trailing stops whose account has another price source now, by order id.
    moved_trails: Mapping[int, MovedTrail] = field(default_factory=dict)
    totals: SignalTotals = field(default_factory=SignalTotals)  # each allowed entry is added
    # What decision providers made of entries, by order id: by what the size is multiplied, or why
    # it is not sent now. Other entries are not scaled.
    scales: Mapping[int, "Decimal | Denial | Deferred"] = field(default_factory=dict)

    def signal_of(self, entry: OrderRow) -> SignalRow:
        """Return the signal of an entry, with the entry's own levels and end instead of its own,
        and the installation's slippage limit if it has none.

        Raises KeyError for an order without one.
        """
        signal = self.signals[entry.signal_id or 0]
        if entry.own_valid_until is not None:
            signal = signal._replace(valid_until=entry.own_valid_until)
        most = self.order_defaults.max_slippage_pips
        if (
            most is not None
            and signal.max_slippage_pips is None
            and slippage_unit(entry.pair) is Unit.PIPS
        ):
            signal = signal._replace(max_slippage_pips=most, max_slippage_unit=Unit.PIPS.value)
        return with_own_levels(signal, entry.own_stop_loss, entry.own_take_profit)

    def quotes_of(self, row: OrderRow) -> Mapping[str, QuoteRow]:
        """Return the quotes of the account's price source, by pair."""
        return self.quotes.get(row.data_connection_id or 0, {})

    def source_of(self, row: OrderRow) -> SourceRow | None:
        """Return the account's price source, if it was loaded."""
        return self.sources.get(row.data_connection_id or 0)


@dataclass(frozen=True, slots=True)
class Trigger:
    """When an entry is sent that the engine holds. Prices: quote currency.

    order_type: the entry's own; sent_as: the type that is sent. level: of a trailing stop, by the
    market now; None while its activation price is not reached. is_held: by the engine; else it is a
    trailing stop that its broker takes.
    """

    kind: TriggerKind
    sent_as: OrderType
    source_id: int
    pair: str
    side: Side
    order_type: str
    level: Decimal | None = None
    distance: Decimal | None = None
    activation_price: Decimal | None = None
    is_held: bool = True

    @property
    def text(self) -> str:
        """What the order waits for, for its owner."""
        if self.distance is None:
            return f"Emulated: {self.kind.label.lower()} at {plain(self.level)}"
        start = f", from {plain(self.activation_price)} on" if self.activation_price else ""
        return f"Emulated: {self.kind.label.lower()}, {plain(self.distance)} behind{start}"


class Intent(NamedTuple):
    """The request exactly as it is sent. Prices: quote currency; margin, risk: account currency."""

    symbol: str
    quantity: Decimal
    expected_price: Decimal
    pip: Decimal
    rate: Decimal
    order_type: str | None = None  # None: the order's own
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None  # of a trailing stop the first one
    trail_distance: Decimal | None = None  # of a trailing stop that its broker takes
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    margin: Decimal | None = None
    risk: Decimal | None = None
    worst_price: Decimal | None = None  # a market order's
    unrounded_quantity: Decimal | None = None  # an entry's, before step, minimum and maximum
    expires_at: datetime | None = None  # GTD: market time at which its broker ends it
    warning: str = ""  # a part of the detail
    detail: str = ""
    slices: tuple[Slice, ...] = ()  # the plan that this is the first slice of
    slice_step: Decimal = ZERO
    slice_minimum: Decimal = ZERO
    profile_days: int | None = None  # of its plan's volume profile; 0: none is known

    @property
    def whole_quantity(self) -> Decimal:
        """What it sends together with the later slices of its plan."""
        return sum((part.quantity for part in self.slices), ZERO) if self.slices else self.quantity


@dataclass(frozen=True, slots=True)
class Terminated:
    """The order ends without being sent: it expired, or an event made it needless."""

    denial: Denial
    status: Status = Status.EXPIRED


@dataclass(frozen=True, slots=True)
class Deferred:
    """The order waits. code, detail: why, for its owner. blocker: what an exit waits for.

    trigger: what an order that the engine holds waits for, if it is known now. wait: for how many
    seconds, if not for those of its code.
    """

    code: Code
    blocker: ExitBlocker | None = None
    detail: str = ""
    trigger: Trigger | None = None
    wait: float | None = None

    @property
    def seconds(self) -> float:
        """Seconds until the order is decided again; most waits are ended earlier by an event."""
        return DEFERRAL_SECONDS.get(self.code, 1.0) if self.wait is None else self.wait


EXIT_CODES = {
    ExitBlocker.POSITION_ID: Code.EXIT_AWAITS_NUMBER,
    ExitBlocker.OTHER_EXITS: Code.EXIT_AWAITS_OTHERS,
    ExitBlocker.LEVELS_REMOVAL: Code.EXIT_AWAITS_LEVELS,
    ExitBlocker.BROKER_READ: Code.EXIT_AWAITS_READ,
}
DEFERRAL_SECONDS = {
    Code.CONNECTION_ERROR: 20.0,
    Code.ACCOUNT_TRADING_DISABLED: 20.0,
    Code.ACCOUNT_ANSWER_UNUSABLE: 20.0,
    Code.CONNECTION_TEST_PENDING: 20.0,
    Code.CONNECTION_UNTESTED: 20.0,
    Code.CONNECTION_UNREACHABLE: 20.0,
    Code.CIRCUIT_OPEN: 20.0,
    Code.CONNECTION_NOT_RECONCILED: 20.0,
    Code.BROKER_HOST_DOWN: 20.0,
    Code.NO_SESSION_WORKER: 20.0,
    Code.BROKER_MAINTENANCE: 5.0,
    Code.OPPOSITE_CLOSING: 0.3,
    Code.DECISION_AWAITED: 8.0,  # its answer makes the order due; longer than any time-out
}
ENTRY_WAITS = frozenset(
    {*DEFERRAL_SECONDS, *NOT_REACHED, Code.PRICE_AWAITED, Code.EARLIER_COMMAND, Code.BROKER_SLOW,
     Code.RESTORE_CHECK, Code.MARKET_CLOSED, Code.AGGREGATION_AWAITED}
)  # fmt: skip
"""What an entry may wait for. If it becomes too old meanwhile, it ends with that code."""

Decision = Intent | Denial | Terminated | Deferred


def touch_price(quote: QuoteRow, side: Side) -> Decimal:
    """Return the price at which a market order fills: ask for a buy, bid for a sell."""
    return quote.ask if side is Side.BUY else quote.bid
