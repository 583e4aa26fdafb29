"""What an order is judged against, and what may become of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from brokers.types import OrderType, Side, TimeInForce
from common.reason_codes import Code
from execution.exits.safety import ExitBlocker
from execution.models import Status
from execution.reports.transitions import NOT_REACHED
from execution.submission.sizing import Denial

# What a row's texts stand for: a look-up costs a tenth of the enum's own conversion.
SIDES = {side.value: side for side in Side}
ORDER_TYPES = {kind.value: kind for kind in OrderType}
TIMES_IN_FORCE = {time.value: time for time in TimeInForce}


@dataclass(frozen=True, slots=True)
class EvaluationContext:
    """What a bundle is judged against, loaded once for all of it."""

    signals: Mapping[int, Any]
    instruments: Mapping[tuple[str, str], Any]  # by (book, pair) and by (book, symbol)
    quotes: Mapping[int, Mapping[str, Any]]  # by price source, then by pair
    exits: Mapping[int, Any]  # what each exit's position has left for it, by order
    now: datetime  # market clock
    market_entry_max_age_seconds: int = 60  # how old a signal may be whose entry is a market order
    # Price sources by id; loaded only where an entry of the bundle lacks a price.
    sources: Mapping[int, Any] = field(default_factory=dict)
    # What brokers have told an entry's margin to be: of one base unit, by order.
    margins: Mapping[int, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Intent:
    """The exact request, as it will go out. Prices: quote currency; margin, risk: account's."""

    symbol: str
    quantity: Decimal
    expected_price: Decimal
    pip: Decimal
    rate: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    margin: Decimal | None = None
    risk: Decimal | None = None
    worst_price: Decimal | None = None  # a market order's
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Terminated:
    """It must not be sent any more, and nobody refused it: time or events have overtaken it."""

    denial: Denial
    status: Status = Status.EXPIRED


@dataclass(frozen=True, slots=True)
class Deferred:
    """Not now: somebody else's answer comes first. code and detail: why, for its owner; needs: what
    an exit waits for."""

    code: Code
    blocker: ExitBlocker | None = None
    detail: str = ""

    @property
    def seconds(self) -> float:
        """After how long it is judged again at the latest: what ends most waits wakes it."""
        return DEFERRAL_SECONDS.get(self.code, 1.0)


EXIT_CODES = {
    ExitBlocker.NUMBER: Code.EXIT_AWAITS_NUMBER,
    ExitBlocker.TURN: Code.EXIT_AWAITS_OTHERS,
    ExitBlocker.LIFT: Code.EXIT_AWAITS_LEVELS,
    ExitBlocker.READ: Code.EXIT_AWAITS_READ,
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
}
ENTRY_WAITS = frozenset(
    {*DEFERRAL_SECONDS, *NOT_REACHED, Code.PRICE_AWAITED, Code.EARLIER_COMMAND, Code.BROKER_SLOW,
     Code.RESTORE_CHECK, Code.MARKET_CLOSED}
)  # fmt: skip
"""What an entry may wait for. One that gets too old meanwhile ends with the code of it."""


Decision = Intent | Denial | Terminated | Deferred


def touch_price(quote: Any, side: Side) -> Decimal:
    """The price that a market order of this side meets: ask for a buy, bid for a sell."""
    price: Decimal = quote.ask if side is Side.BUY else quote.bid
    return price
