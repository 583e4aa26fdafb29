"""Every kind of event that buses carry, as a class. Its fields are the schema of its data.

Amounts, prices and quantities are decimal text; times are RFC 3339 with microseconds, in UTC. What
is not known or does not apply is null. A field may be added within a version; one that changes or
goes makes a new version. docs/events has the schema of each with an example, which
`manage.py event_schemas` writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar, Literal

Lifecycle = Literal[
    "RECEIVED", "VALIDATED", "SUBMITTED", "PARTIALLY_FILLED", "CANCEL_REQUESTED", "UNKNOWN",
    "FILLED", "SKIPPED", "DENIED", "REJECTED", "FAILED", "CANCELLED", "EXPIRED", "CLOSED",
]  # fmt: skip
Status = Literal[
    "PENDING", "SUBMITTING", "SUBMITTED", "PARTIALLY_FILLED", "CANCEL_REQUESTED", "UNKNOWN",
    "FILLED", "SKIPPED", "DENIED", "REJECTED", "FAILED", "CANCELLED", "EXPIRED",
]  # fmt: skip
Side = Literal["BUY", "SELL"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderUpdate:
    """One step of one order: every transition, every fill, every reason to wait.

    status_before: null at the first step. lifecycle: the same as `status`, with RECEIVED for
    PENDING, VALIDATED for SUBMITTING, and CLOSED once the position that the order opened is closed.
    remaining_quantity: what was not executed, also of an order that has ended.
    """

    type: ClassVar[str] = "order_update"
    version: ClassVar[int] = 1

    order_id: int
    client_order_id: str | None
    broker_order_id: str | None
    signal_id: int | None
    position_id: int | None
    strategy_id: str | None
    trade_plan_id: str | None
    account_id: str
    broker: str
    leg: str
    symbol: str
    broker_symbol: str | None
    side: Side
    order_type: str
    time_in_force: str
    status: Status
    status_before: Status | None
    lifecycle: Lifecycle
    code: str
    detail: str
    quantity: Decimal | None
    filled_quantity: Decimal
    remaining_quantity: Decimal | None
    average_price: Decimal | None
    limit_price: Decimal | None
    stop_price: Decimal | None
    stop_loss: Decimal | None
    take_profit: Decimal | None
    expected_price: Decimal | None
    slippage: Decimal | None
    slippage_unit: Literal["PIPS", "TICKS", "BPS", "PERCENT"] | None
    commission: Decimal
    created_at: datetime
    submitted_at: datetime | None
    filled_at: datetime | None
    cancelled_at: datetime | None
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One execution at a broker.

    inferred: the broker reported a total without this execution; its own report may follow as
    another fill and then replaces this one. To add up what an order has executed, use the
    `filled_quantity` of its order updates. executed_at: the broker's time.
    """

    type: ClassVar[str] = "fill"
    version: ClassVar[int] = 1

    fill_id: int
    broker_fill_id: str
    order_id: int
    client_order_id: str | None
    broker_order_id: str | None
    signal_id: int | None
    position_id: int | None
    strategy_id: str | None
    trade_plan_id: str | None
    account_id: str
    broker: str
    leg: str
    symbol: str
    broker_symbol: str | None
    side: Side
    quantity: Decimal
    price: Decimal
    expected_price: Decimal | None
    slippage_pips: Decimal | None
    commission: Decimal
    commission_currency: str
    inferred: bool
    executed_at: datetime
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Position:
    """A position as it is when the event is read, which may be later than what caused it.

    state_version: of two events of a position the one with the higher number has the newer state.
    """

    position_id: int
    state_version: int
    signal_id: int
    strategy_id: str | None
    trade_plan_id: str | None
    account_id: str
    broker: str
    broker_position_id: str | None
    symbol: str
    broker_symbol: str
    side: Side
    quantity: Decimal
    opened_quantity: Decimal
    entry_price: Decimal
    stop_loss: Decimal | None
    take_profit: Decimal | None
    stop_guardian: Literal["BROKER", "ENGINE"] | None
    target_guardian: Literal["BROKER", "ENGINE"] | None
    realized_pnl: Decimal
    commission: Decimal
    swap: Decimal
    close_reason: str | None
    opened_at: datetime
    closed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionOpened(_Position):
    """An entry opened a position."""

    type: ClassVar[str] = "position_opened"
    version: ClassVar[int] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionChanged(_Position):
    """A position's quantity, levels or result changed."""

    type: ClassVar[str] = "position_changed"
    version: ClassVar[int] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionClosed(_Position):
    """A position was closed completely."""

    type: ClassVar[str] = "position_closed"
    version: ClassVar[int] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FanoutDone:
    """A signal was published, and every candidate has its order row."""

    type: ClassVar[str] = "fanout_done"
    version: ClassVar[int] = 1

    signal_id: int
    feed: str
    strategy_id: str | None
    trade_plan_id: str | None
    action: Literal["OPEN", "MODIFY", "CLOSE"]
    symbol: str
    side: Side | None
    candidates: int
    published_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyticsReady:
    """The results of a trading day are computed, again if its trades changed."""

    type: ClassVar[str] = "analytics_ready"
    version: ClassVar[int] = 1

    day: date
    accounts: int
    computed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Anything else that Fillcast notifies people of; docs/notifications.md lists the kinds.

    payload: the fields of that kind.
    """

    type: ClassVar[str] = "notice"
    version: ClassVar[int] = 1

    kind: str
    signal_id: int | None
    order_id: int | None
    account_id: str | None
    payload: dict[str, Any]


EventData = (
    OrderUpdate | Fill | PositionOpened | PositionChanged | PositionClosed | FanoutDone
    | AnalyticsReady | Notice
)  # fmt: skip
CATALOGUE: tuple[type[EventData], ...] = (
    OrderUpdate, Fill, PositionOpened, PositionChanged, PositionClosed, FanoutDone, AnalyticsReady,
    Notice,
)  # fmt: skip


def type_of(event: type[EventData] | EventData) -> str:
    """Return the CloudEvents type, such as "fillcast.order_update.v1"."""
    return f"fillcast.{event.type}.v{event.version}"
