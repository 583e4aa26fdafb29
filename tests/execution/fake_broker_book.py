"""A broker's books: a journal of accepted orders, tickets and events, driven by hand."""

from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import count

from brokers import price_rounding
from brokers.base import (
    OutcomeUnknown,
    Rejected,
)
from brokers.types import (
    CloseCause,
    ConnectionSpec,
    Execution,
    HeldLevels,
    OrderReport,
    OrderRequest,
    ReportKind,
    Side,
)
from common.clocks import market_now
from common.reason_codes import Code
from execution.ids import base_of
from tests.execution.netting_model import NettingModel

PRICE = Decimal("1.10000")
ENDS = {
    "CANCELLED": ReportKind.CANCELLED,
    "EXPIRED": ReportKind.EXPIRED,
    "REJECTED": ReportKind.REJECTED,
}


@dataclass(eq=False)
class Ticket:
    """An order in the journal. lot: the ticket of the entry that opened the position to close."""

    number: str
    request: OrderRequest
    status: str = "WORKING"
    filled: Decimal = Decimal(0)
    fills: list[Execution] = field(default_factory=list)
    cause: CloseCause | None = None
    lot: "Ticket | None" = None
    held: Decimal = Decimal(0)  # an entry's position: what is still open

    @property
    def is_exit(self) -> bool:
        return self.request.reduce_only

    @property
    def left(self) -> Decimal:
        return self.request.quantity - self.filled


class FakeBrokerBook:
    """The books of one broker for all connections of a test."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.tickets: list[Ticket] = []
        self.news: dict[str, OrderReport] = {}
        self.nets: NettingModel | None = None
        self.drops_levels = False  # accepts orders and changes, and drops their levels
        self.reports_levels = True  # with an execution
        self.price = PRICE
        self.tick = Decimal(0)  # levels are kept in whole ticks
        self.maximum: Decimal | None = None  # of one order
        self._numbers = count(1)

    def receive(self, request: OrderRequest) -> Ticket:
        """Accept an order. Raises Rejected for an exit of nothing, and above the maximum."""
        if self.maximum is not None and request.quantity > self.maximum:
            raise Rejected(Code.VOLUME_INVALID)
        lot = None
        if request.reduce_only:
            lot = self._lot_of(request)
            if lot is None or (self.nets is None and lot.held <= 0):
                raise Rejected(Code.NO_POSITION)
            if self.nets:
                self.nets.admit(lot)
        ticket = Ticket(str(next(self._numbers)), self.kept(request), lot=lot)
        self.tickets.append(ticket)
        return ticket

    def kept(self, request: OrderRequest) -> OrderRequest:
        """Return the order as stored: a broker that drops levels does so silently."""
        if self.drops_levels:
            return replace(request, stop_loss=None, take_profit=None)
        stop, target = self.on_tick(request, request.stop_loss, request.take_profit)
        return replace(request, stop_loss=stop, take_profit=target)

    def on_tick(
        self, entry: OrderRequest, *levels: Decimal | None
    ) -> tuple[Decimal | None, Decimal | None]:
        """Levels as stored: in whole ticks, rounded up for a long, down for a short."""
        stop, target = (
            one and price_rounding.round_level_price(one, self.tick, Side(entry.side))
            for one in levels
        )
        return stop, target

    def lot(self, connection_id: str, number: str) -> Ticket | None:
        """Return the entry of the position with this number."""
        return next(
            (
                t
                for t in self.tickets
                if t.number == number and t.request.connection_id == connection_id and not t.is_exit
            ),
            None,
        )

    def execute(self, ticket: Ticket, quantity: Decimal | None = None) -> OrderReport:
        """Fill a working order, whole or in part; an exit never takes more than is open."""
        executed = ticket.left if quantity is None else min(quantity, ticket.left)
        if self.nets:
            executed = self._execute_net(self.nets, ticket, executed)
        elif ticket.lot is not None:
            executed = min(executed, ticket.lot.held)
            ticket.lot.held -= executed
        else:
            ticket.held += executed
        fill = Execution(f"f{next(self._numbers)}", executed, self.price, market_now())
        ticket.fills.append(fill)
        ticket.filled += executed
        if ticket.left == 0:
            ticket.status = "FILLED"
        return self.report(ticket, ReportKind.FILLED, (fill,))

    def average_price(self, lot: Ticket) -> Decimal:
        """Return the entry price of what remains of a position, as netting brokers state it."""
        steps = [(fill, 1) for fill in lot.fills]
        steps += [(fill, -1) for t in self.tickets if t.lot is lot for fill in t.fills]
        left, price = Decimal(0), Decimal(0)
        for fill, sign in sorted(steps, key=lambda step: int(step[0].broker_fill_id[1:])):
            if sign > 0:
                worth = left * price + fill.quantity * fill.price
                price = worth / (left + fill.quantity)
            left += sign * fill.quantity
        return price

    def _lot_of(self, request: OrderRequest) -> Ticket | None:
        if self.nets is None:
            return self.lot(request.connection_id, request.broker_position_id)
        same = (t for t in self.tickets if t.request.connection_id == request.connection_id)
        return next((t for t in same if t.request.client_order_id == request.closes), None)

    def _execute_net(self, nets: NettingModel, ticket: Ticket, quantity: Decimal) -> Decimal:
        if ticket.lot is None:
            ticket.held += quantity
            nets.enter(ticket, quantity)
            if ticket.number in nets.protected:
                self.publish(self.levels(ticket))
        elif ticket.cause is None:
            held = ticket.lot.held
            quantity = nets.leave(ticket.lot, quantity)
            self._take_from_neighbours(nets, ticket.lot, quantity - held)
        return quantity  # an exit of its own is already booked

    def _take_from_neighbours(self, nets: NettingModel, lot: Ticket, rest: Decimal) -> None:
        """An exit of a netted position names one entry, and closes others with it."""
        for other in self.tickets:
            if other.lot is None and rest > 0 and nets.key(other) == nets.key(lot):
                taken = min(rest, other.held)
                other.held -= taken
                rest -= taken

    def levels(self, lot: Ticket) -> OrderReport:
        covered = self.nets.protected.get(lot.number, Decimal(0)) if self.nets else None
        live = covered is None or covered > 0
        return replace(
            self.report(lot, ReportKind.LEVELS),
            levels=HeldLevels(
                lot.request.stop_loss if live else None,
                lot.request.take_profit if live else None,
                covered if live else None,
            ),
        )

    def end(self, ticket: Ticket, status: str, code: Code | None = None) -> OrderReport:
        """Cancel, expire or reject what is left of a working order."""
        ticket.status = status
        return replace(self.report(ticket, ENDS[status]), code=code)

    def close_at_broker(self, lot: Ticket, cause: CloseCause, quantity: Decimal) -> OrderReport:
        """Close (a part of) a position as the broker or its owner would."""
        if self.nets:
            by_hand = cause is CloseCause.EXTERNAL
            quantity = self.nets.by_hand(lot, quantity) if by_hand else self.nets.stop_out(lot)
            taken = quantity
        else:
            taken = min(quantity, lot.held)
        request = replace(
            lot.request,
            client_order_id="",
            side=lot.request.side.opposite,
            quantity=taken,
            reduce_only=True,
        )
        ticket = Ticket(str(next(self._numbers)), request, cause=cause, lot=lot)
        self.tickets.append(ticket)
        return self.execute(ticket)

    def report(
        self, ticket: Ticket, kind: ReportKind, fills: tuple[Execution, ...] = ()
    ) -> OrderReport:
        lot = ticket.lot or ticket
        named = lot if ticket.cause else ticket
        return OrderReport(
            kind=kind,
            connection_id=ticket.request.connection_id,
            client_order_id=named.request.client_order_id,
            broker_order_id=ticket.number,
            broker_position_id=self.nets.number(lot) if self.nets else lot.number,
            fills=fills,
            close_cause=ticket.cause,
            levels=self._levels_with(ticket) if fills else None,
        )

    def _levels_with(self, ticket: Ticket) -> HeldLevels | None:
        """Return the levels that an entry's execution reports."""
        if (
            ticket.lot is not None
            or ticket.cause is not None
            or self.nets
            or not self.reports_levels
        ):
            return None
        return HeldLevels(ticket.request.stop_loss, ticket.request.take_profit)

    def publish(self, report: OrderReport) -> None:
        """Publish it on the stream, repeatedly until it is acknowledged."""
        event_id = f"e{next(self._numbers)}"
        self.news[event_id] = replace(report, event_id=event_id)

    def accepted(self, connection_id: str | None = None) -> list[str]:
        """The bases of the ids of all orders that were accepted from us, in order."""
        return [
            base_of(t.request.client_order_id)
            for t in self.tickets
            if t.cause is None
            and t.status != "REJECTED"
            and (connection_id is None or t.request.connection_id == connection_id)
        ]

    # ---- possible answers to an order ---------------------------------------------------
    def fill_at_once(self, request: OrderRequest) -> list[OrderReport]:
        return [self.execute(self.receive(request))]

    def rest(self, request: OrderRequest) -> list[OrderReport]:
        return [self.report(self.receive(request), ReportKind.ACCEPTED)]

    def accept_without_reply(self, request: OrderRequest) -> list[OrderReport]:
        self.execute(self.receive(request))
        raise OutcomeUnknown(Code.REPLY_LOST)

    # ---- look-ups of orders --------------------------------------------------------------
    def known(self, spec: ConnectionSpec, client_order_id: str) -> list[Ticket]:
        """The tickets that came with a client order id."""
        return [
            t
            for t in self.tickets
            if t.request.client_order_id == client_order_id
            and t.request.connection_id == spec.connection_id
        ]

    def all_of(self, ticket: Ticket) -> list[OrderReport]:
        """Everything that the book knows of one order."""
        reports = []
        if ticket.fills:
            reports.append(self.report(ticket, ReportKind.FILLED, tuple(ticket.fills)))
        if ticket.status in ENDS:
            reports.append(self.report(ticket, ENDS[ticket.status]))
        return reports or [self.report(ticket, ReportKind.ACCEPTED)]
