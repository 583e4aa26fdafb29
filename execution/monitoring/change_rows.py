"""A claimed change of a working order, and what follows from its call."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from brokers.types import ChangeRequest, OrderReport, OrderTerms, OrderType, Side
from common.reason_codes import Code
from connections.selectors import LaneAccount
from execution.models import ChangeState


@dataclass(frozen=True, slots=True)
class ChangeRow(LaneAccount):
    """A claimed change with its order and connection. id: the order's.

    was: its state before the claim; REQUESTED is sent, the others are read. answer_by:
    until then the last change may still reach the broker. age: seconds since it was requested.
    was_frozen: it has waited for the market to move away from the order.
    """

    id: int
    change_id: int
    was: str
    calls: int
    sends: int
    absences: int
    age: float
    answer_by: datetime | None
    raises_risk: bool
    was_frozen: bool
    is_cancelled: bool
    feed_id: int | None
    pair: str
    signal_pair: str | None
    client_order_id: str
    broker_order_id: str
    symbol: str
    side: str
    order_type: str
    filled_quantity: Decimal
    quantity: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    old_quantity: Decimal
    old_limit_price: Decimal | None
    old_stop_price: Decimal | None

    @property
    def terms(self) -> OrderTerms:
        """What the order shall have."""
        return OrderTerms(self.quantity, self.limit_price, self.stop_price)

    @property
    def old_terms(self) -> OrderTerms:
        """What it had before."""
        return OrderTerms(self.old_quantity, self.old_limit_price, self.old_stop_price)

    @property
    def request(self) -> ChangeRequest:
        """The change as it is sent, without a deadline."""
        return ChangeRequest(
            client_order_id=self.client_order_id,
            broker_order_id=self.broker_order_id,
            connection_id=str(self.connection_id),
            symbol=self.symbol,
            side=Side(self.side),
            order_type=OrderType(self.order_type),
            terms=self.terms,
            present=self.old_terms,
        )


@dataclass(frozen=True, slots=True)
class ChangeOutcome:
    """What follows from a call. seconds: until it is due again, if its state is an open one.

    shown: the terms that the order has; None: they are not known. look_up: the order is looked up,
    since its broker does not list it. unsent: the change has certainly not left.
    """

    row: ChangeRow
    state: ChangeState
    code: Code | None = None
    detail: str = ""
    seconds: float = 0.0
    shown: OrderTerms | None = None
    absences: int = 0
    look_up: bool = False
    unsent: bool = False
    reports: tuple[OrderReport, ...] = field(default=())
