"""The state of one order at IBKR, and the reports made of it. Pure: no socket, no clock.

An entry with levels is three orders at IBKR: the entry, its stop and its target. The `orderRef` of
the latter two is the entry's client order id with the suffix `:sl` or `:tp`.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from brokers.ibkr.codes import REJECTED, is_error
from brokers.types import (
    BrokerOrder,
    CloseCause,
    Execution,
    HeldLevels,
    OrderReport,
    OrderType,
    ReportKind,
    Side,
    TimeInForce,
)
from common.reason_codes import Code

ENTRY, STOP, TARGET = "", "sl", "tp"
CAUSES = {STOP: CloseCause.STOP_LOSS, TARGET: CloseCause.TAKE_PROFIT}
ZERO = Decimal(0)


@dataclass(slots=True)
class Fill:
    """One execution. correction: IBKR's number of this version; quantity: base units.

    IBKR sends the commission separately and later. The execution is reported (`reported`) as soon
    as the commission arrives or has taken too long. may_be_stored: it may have been reported
    without its commission, by this process or, if it is from a list, by one that has ended.
    """

    broker_fill_id: str
    correction: int
    quantity: Decimal
    price: Decimal
    time: datetime
    commission: Decimal | None = None
    currency: str = ""
    reported: bool = False
    may_be_stored: bool = False

    def executions(self) -> tuple[Execution, ...]:
        """Return it for a report, and once more with only its commission if it may be stored.

        Revisions are even: former versions added a late commission as the odd one that follows.
        """
        whole = Execution(
            self.broker_fill_id,
            self.quantity,
            self.price,
            self.time,
            self.commission or ZERO,
            self.currency,
            revision=2 * (self.correction - 1),
        )
        if self.commission is None or not self.may_be_stored:
            return (whole,)
        return whole, replace(whole, is_commission_only=True)


@dataclass(slots=True)
class Record:
    """One order at IBKR. quantity: base units; multiplier: base units in one unit of IBKR's."""

    connection_id: str
    client_order_id: str
    leg: str
    order_id: int = 0
    client_id: int = 0
    perm_id: int = 0
    twins: set[int] = field(default_factory=set)  # of several that work (twin_orders.py)
    ended_twins: set[int] = field(default_factory=set)
    twin_ended: str = ""  # the status of the last one that ended, until the lists are read
    con_id: int = 0
    symbol: str = ""
    multiplier: Decimal = Decimal(1)
    side: Side = Side.BUY
    order_type: OrderType | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    expires_at: datetime | None = None  # of a GTD order
    quantity: Decimal = ZERO
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None  # of a trailing stop the present one
    trail_distance: Decimal | None = None
    oca_group: str = ""
    is_exit: bool = False
    parent_id: int = 0
    status: str = ""
    accepted: bool = False
    ended: ReportKind | None = None
    code: Code | None = None
    detail: str = ""
    in_doubt: bool = False  # the last answer proves nothing
    error_number: int = 0  # of the last error about it, which is in `detail` or `refused_change`
    withdrawn: bool = False  # we cancel it, since TWS cannot start it: its end is a refusal
    cancelling: bool = False
    changing: bool = False  # a change is in flight: errors are about that
    was_changed: bool = False  # a change was sent: an error may be about that, however late it is
    filled: Decimal = ZERO  # by its status
    average: Decimal = ZERO  # average price of `filled`
    fills: dict[str, Fill] = field(default_factory=dict)
    fill_time: datetime | None = None  # when `filled` last changed
    refused_change: str = ""
    written_at: float = 0.0  # on the loop's clock; 0: not sent by this process
    awaited: bool = False  # the caller of `submit` still waits, and gets a rejection as its outcome

    @property
    def key(self) -> tuple[str, str, str]:
        """Connection id, client order id and leg."""
        return self.connection_id, self.client_order_id, self.leg

    @property
    def order_ref(self) -> str:
        """The text by which IBKR's lists name it, `orderRef`."""
        return f"{self.client_order_id}:{self.leg}" if self.leg else self.client_order_id

    @property
    def live(self) -> bool:
        """Whether it may still be executed."""
        return self.ended is None

    @property
    def is_refused(self) -> bool:
        """Whether TWS seems to have refused it, with a number that no table knows."""
        return self.in_doubt and is_error(self.error_number)

    @property
    def was_refused(self) -> bool:
        """Whether a refusal has ended it, and no status: TWS may yet list it as working."""
        by_number = self.error_number in REJECTED and not self.withdrawn
        return by_number and self.ended in (ReportKind.REJECTED, ReportKind.CANCELLED)

    @property
    def end_if_refused(self) -> ReportKind:
        """How it ends when IBKR refuses it: of one that was executed in part, the rest does."""
        return ReportKind.CANCELLED if self.executed or self.filled else ReportKind.REJECTED

    @property
    def executed(self) -> Decimal:
        """The sum of its executions, base units."""
        return sum((fill.quantity for fill in self.fills.values()), ZERO)

    def _report(self, kind: ReportKind, fills: tuple[Execution, ...] = ()) -> OrderReport:
        ended = kind not in (ReportKind.ACCEPTED, ReportKind.FILLED)
        return OrderReport(
            kind=kind,
            connection_id=self.connection_id,
            client_order_id=self.client_order_id,
            broker_order_id=str(self.perm_id or ""),
            broker_position_id=str(self.con_id or ""),
            fills=fills,
            code=self.code if ended else None,
            detail=self.detail if ended else "",
            close_cause=CAUSES.get(self.leg),
        )

    def filled_report(self, fill: Fill) -> OrderReport:
        """Return the report of one execution."""
        return self._report(ReportKind.FILLED, fill.executions())

    def accepted_report(self) -> OrderReport:
        return self._report(ReportKind.ACCEPTED)

    def end_report(self) -> OrderReport | None:
        """Return the report of its end; None if it is live or filled."""
        if self.ended in (None, ReportKind.FILLED):
            return None
        return self._report(self.ended)

    def reports(self) -> list[OrderReport]:
        """Return all reports of its present state."""
        fills = tuple(e for f in self.fills.values() if f.reported for e in f.executions())
        found = [self._report(ReportKind.FILLED, fills)] if fills else []
        if (end := self.end_report()) is not None:
            found.append(end)
        elif self.accepted and not any(fill.quantity for fill in fills):
            found.append(self.accepted_report())
        return found

    def sum_report(self) -> OrderReport | None:
        """Return IBKR's cumulative quantity as a report, if today's executions are not all."""
        if self.filled <= self.executed or self.average <= 0 or not self.fill_time:
            return None
        name = f"sum-{self.perm_id}"
        total = Execution(name, self.filled, self.average, self.fill_time, inferred=True)
        return self._report(ReportKind.FILLED, (total,))

    def order(self) -> BrokerOrder:
        """Return it as a working order."""
        return BrokerOrder(
            broker_order_id=str(self.perm_id),
            symbol=self.symbol,
            side=self.side,
            order_type=self.order_type or OrderType.MARKET,
            quantity=self.quantity,
            filled=max(self.filled, self.executed),
            limit_price=self.limit_price,
            stop_price=self.stop_price,
            client_order_id=self.client_order_id,
            trail_distance=self.trail_distance,
        )


def held_levels(stop: Record | None, target: Record | None) -> HeldLevels:
    """Return the levels of an entry's position, with the quantity that the stop covers."""
    held_stop = stop if stop is not None and stop.accepted and stop.live else None
    held_target = target if target is not None and target.accepted and target.live else None
    return HeldLevels(
        stop_loss=held_stop.stop_price if held_stop else None,
        take_profit=held_target.limit_price if held_target else None,
        protected=held_stop.quantity - max(held_stop.filled, held_stop.executed)
        if held_stop
        else None,
    )


def levels_report(entry: Record, stop: Record | None, target: Record | None) -> OrderReport:
    """Return the LEVELS report of an entry's position. Its code states that one was rejected."""
    refused = [leg for leg in (stop, target) if leg and leg.ended is ReportKind.REJECTED]
    return OrderReport(
        kind=ReportKind.LEVELS,
        connection_id=entry.connection_id,
        client_order_id=entry.client_order_id,
        broker_position_id=str(entry.con_id or ""),
        levels=held_levels(stop, target),
        code=Code.STOPS_INVALID if refused else None,
        detail=refused[0].detail if refused else "",
    )
