"""The input of an order's evaluation, and its possible decisions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from brokers.types import OrderType, Side, TimeInForce
from common.reason_codes import Code
from execution.exits.safety import ExitBlocker
from execution.models import Status
from execution.reports.transitions import NOT_REACHED
from execution.submission.rows import (
    ExitRow,
    InstrumentRow,
    OrderRow,
    QuoteRow,
    SignalRow,
    SourceRow,
)
from execution.submission.sizing import Denial

# A row's texts as enums: a dictionary costs a tenth of the enum's own conversion.
SIDES = {side.value: side for side in Side}
ORDER_TYPES = {order_type.value: order_type for order_type in OrderType}
TIMES_IN_FORCE = {time.value: time for time in TimeInForce}


@dataclass(frozen=True, slots=True)
class EvaluationContext:
    """What the orders of a bundle are decided by, loaded once for all of them."""

    signals: Mapping[int, SignalRow]
    instruments: Mapping[tuple[str, str], InstrumentRow]  # by (book, pair) and by (book, symbol)
    quotes: Mapping[int, Mapping[str, QuoteRow]]  # by price source, then by pair
    exits: Mapping[int, ExitRow]  # rows of `claim_sql.EXITS`, by order id
    now: datetime  # market clock
    market_entry_max_age_seconds: int = 60  # maximum signal age of a market entry
    # Price sources by id; loaded only where an entry of the bundle lacks a price.
    sources: Mapping[int, SourceRow] = field(default_factory=dict)
    # Margin of one base unit as brokers calculated it, by order id.
    margins: Mapping[int, Decimal] = field(default_factory=dict)

    def signal_of(self, entry: OrderRow) -> SignalRow:
        """Return the signal of an entry. Raises KeyError for an order without one."""
        return self.signals[entry.signal_id or 0]

    def quotes_of(self, row: OrderRow) -> Mapping[str, QuoteRow]:
        """Return the quotes of the account's price source, by pair."""
        return self.quotes.get(row.data_connection_id or 0, {})

    def source_of(self, row: OrderRow) -> SourceRow | None:
        """Return the account's price source, if it was loaded."""
        return self.sources.get(row.data_connection_id or 0)


@dataclass(frozen=True, slots=True)
class Intent:
    """The request exactly as it is sent. Prices: quote currency; margin, risk: account currency."""

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
    """The order ends without being sent: it expired, or an event made it needless."""

    denial: Denial
    status: Status = Status.EXPIRED


@dataclass(frozen=True, slots=True)
class Deferred:
    """The order waits. code, detail: why, for its owner. blocker: what an exit waits for."""

    code: Code
    blocker: ExitBlocker | None = None
    detail: str = ""

    @property
    def seconds(self) -> float:
        """Seconds until the order is decided again; most waits are ended earlier by an event."""
        return DEFERRAL_SECONDS.get(self.code, 1.0)


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
}
ENTRY_WAITS = frozenset(
    {*DEFERRAL_SECONDS, *NOT_REACHED, Code.PRICE_AWAITED, Code.EARLIER_COMMAND, Code.BROKER_SLOW,
     Code.RESTORE_CHECK, Code.MARKET_CLOSED}
)  # fmt: skip
"""What an entry may wait for. If it becomes too old meanwhile, it ends with that code."""

Decision = Intent | Denial | Terminated | Deferred


def touch_price(quote: QuoteRow, side: Side) -> Decimal:
    """Return the price at which a market order fills: ask for a buy, bid for a sell."""
    return quote.ask if side is Side.BUY else quote.bid
