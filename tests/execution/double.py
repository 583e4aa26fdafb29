"""A broker with a memory: a journal of all that it accepted, tickets, and a stream of news.

It implements the adapter protocol under the kind `double`. Tests drive it by hand (`receive`,
`execute`, `end`, `exit_by_itself`) or through `submit`, whose behaviour they script.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from itertools import count

from brokers.base import (
    BrokerError,
    Guard,
    OutcomeUnknown,
    ReadFailed,
    Rejected,
    Tell,
    check_deadline,
    not_offered,
)
from brokers.form import Form
from brokers.journal import Accepted, Held, Journal
from brokers.messages import (
    AccountState,
    BrokerOrder,
    BrokerPosition,
    CancelRequest,
    Capabilities,
    Check,
    CloseCause,
    ConnectionSpec,
    Execution,
    ExitSafety,
    Instrument,
    ModifyRequest,
    OrderReport,
    OrderRequest,
    OrderType,
    PositionMode,
    Quote,
    ReportKind,
    Side,
    TimeInForce,
    WhatIf,
)
from common.clocks import market_now
from common.codes import Code
from execution.ids import base_of
from tests.execution.nets import Nets
from tests.hang import Hang

KIND, BOOK = "double", "double"
PRICE = Decimal("1.10000")
ENDS = {
    "CANCELLED": ReportKind.CANCELLED,
    "EXPIRED": ReportKind.EXPIRED,
    "REJECTED": ReportKind.REJECTED,
}


@dataclass(eq=False)
class Ticket:
    """An order in the journal. lot: the entry's ticket, whose position it opened or closes."""

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


class Double:
    """One broker for all connections of a test."""

    kind = KIND
    form = Form()

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.tickets: list[Ticket] = []
        self.news: dict[str, OrderReport] = {}
        self.calls: list[tuple[str, str]] = []
        self.behaviour: Callable[[OrderRequest], list[OrderReport]] = self.fill_at_once
        self.cancelling = "take"  # refuse, or no answer: "silent"
        self.reads_fail = False
        self.event_stream = True
        self.hang, self.hung = Hang(), set[str]()  # connections whose reads are not answered
        self.hanging = {"positions", "open_orders", "fills_since"}  # which of their reads
        self.nets: Nets | None = None
        self.fills_horizon: timedelta | None = timedelta(days=1)
        self.arrives_within = timedelta(0)
        self.shuffle: Callable[[list[OrderReport]], list[OrderReport]] = lambda told: told
        self.on_call: Callable[[], None] = lambda: None
        self.price = PRICE
        self.submit_many_at_once = False
        self._numbers = count(1)

    # ---- the book, by hand -----------------------------------------------------------------
    def receive(self, request: OrderRequest) -> Ticket:
        """Accept an order. Raises Rejected for an exit of nothing."""
        lot = None
        if request.reduce_only:
            lot = self._lot_of(request)
            if lot is None or (self.nets is None and lot.held <= 0):
                raise Rejected(Code.NO_POSITION)
            if self.nets:
                self.nets.admit(lot)
        ticket = Ticket(str(next(self._numbers)), request, lot=lot)
        self.tickets.append(ticket)
        return ticket

    def lot(self, connection_id: str, number: str) -> Ticket | None:
        """The entry whose position has this number."""
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
        wanted = ticket.left if quantity is None else min(quantity, ticket.left)
        if self.nets:
            wanted = self._execute_net(self.nets, ticket, wanted)
        elif ticket.lot is not None:
            wanted = min(wanted, ticket.lot.held)
            ticket.lot.held -= wanted
        else:
            ticket.held += wanted
        fill = Execution(f"f{next(self._numbers)}", wanted, self.price, market_now())
        ticket.fills.append(fill)
        ticket.filled += wanted
        if ticket.left == 0:
            ticket.status = "FILLED"
        return self.report(ticket, ReportKind.FILLED, (fill,))

    def _lot_of(self, request: OrderRequest) -> Ticket | None:
        if self.nets is None:
            return self.lot(request.connection_id, request.broker_position_id)
        same = (t for t in self.tickets if t.request.connection_id == request.connection_id)
        return next((t for t in same if t.request.client_order_id == request.closes), None)

    def _execute_net(self, nets: Nets, ticket: Ticket, wanted: Decimal) -> Decimal:
        if ticket.lot is None:
            ticket.held += wanted
            nets.enter(ticket, wanted)
            if ticket.number in nets.protected:
                self.publish(self._levels(ticket))
        elif ticket.cause is None:
            return nets.leave(ticket.lot, wanted)
        return wanted  # what it did by itself has been booked

    def _levels(self, lot: Ticket) -> OrderReport:
        covered = self.nets.protected.get(lot.number, Decimal(0)) if self.nets else None
        live = covered is None or covered > 0
        return replace(
            self.report(lot, ReportKind.LEVELS),
            stop_loss=lot.request.stop_loss if live else None,
            take_profit=lot.request.take_profit if live else None,
            protected=covered if live else None,
        )

    def end(self, ticket: Ticket, status: str, code: Code | None = None) -> OrderReport:
        """Cancel, expire or reject what is left of a working order."""
        ticket.status = status
        return replace(self.report(ticket, ENDS[status]), code=code)

    def exit_by_itself(self, lot: Ticket, cause: CloseCause, quantity: Decimal) -> OrderReport:
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
        )

    def publish(self, report: OrderReport) -> None:
        """Tell it by the stream, again and again until it is acknowledged."""
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

    # ---- behaviours of `submit` -------------------------------------------------------------
    def fill_at_once(self, request: OrderRequest) -> list[OrderReport]:
        return [self.execute(self.receive(request))]

    def rest(self, request: OrderRequest) -> list[OrderReport]:
        return [self.report(self.receive(request), ReportKind.ACCEPTED)]

    def take_and_fall_silent(self, request: OrderRequest) -> list[OrderReport]:
        self.execute(self.receive(request))
        raise OutcomeUnknown(Code.REPLY_LOST)

    # ---- the adapter protocol ---------------------------------------------------------------
    def capabilities(self, spec: ConnectionSpec) -> Capabilities:
        return Capabilities(
            order_types=frozenset(OrderType),
            times_in_force=frozenset(TimeInForce) - {TimeInForce.FOK},
            native_stops=bool(spec.settings.get("native_stops", False)),
            modify=True,
            position_modes=frozenset(PositionMode),
            partial_close=True,
            event_stream=self.event_stream,
            price_stream=False,
            lookup_horizon=timedelta(days=1),
            arrives_within=self.arrives_within,
            refuses_repeated_ids=False,
            exit_safety=self.nets.safety if self.nets else ExitSafety.TICKET,
            session=False,
            needs_credentials=False,
            submit_many=self.submit_many_at_once,
            fills_horizon=self.fills_horizon,
        )

    def instrument_book(self, spec: ConnectionSpec) -> str:
        return BOOK

    async def connect(self, spec: ConnectionSpec) -> None:
        return None

    async def quote(self, spec: ConnectionSpec, symbol: str) -> Quote:
        raise ReadFailed(Code.NOT_OFFERED)

    def stream_quotes(self, spec: ConnectionSpec, symbols: Sequence[str]) -> AsyncIterator[Quote]:
        return not_offered("no prices")

    async def what_if(self, spec: ConnectionSpec, request: OrderRequest) -> WhatIf:
        raise ReadFailed(Code.NOT_OFFERED)

    async def test(self, spec: ConnectionSpec) -> list[Check]:
        return []

    async def account(self, spec: ConnectionSpec) -> AccountState:
        raise ReadFailed(Code.BROKER_UNREACHABLE)

    async def instruments(self, spec: ConnectionSpec) -> list[Instrument]:
        return []

    async def submit(
        self, spec: ConnectionSpec, request: OrderRequest, guard: Guard
    ) -> list[OrderReport]:
        self._called("submit", request.client_order_id)
        guard(request)
        return self.behaviour(request)

    async def submit_many(
        self,
        requests: Sequence[tuple[ConnectionSpec, OrderRequest]],
        guard: Guard,
        tell: Tell,
    ) -> None:
        for spec, request in requests:
            try:
                answer: list[OrderReport] | BrokerError = await self.submit(spec, request, guard)
            except BrokerError as error:
                answer = error
            tell(request, answer)

    async def cancel(self, spec: ConnectionSpec, request: CancelRequest) -> list[OrderReport]:
        self._called("cancel", request.client_order_id)
        check_deadline(request)
        ticket = self._known(spec, request.client_order_id)[-1]
        if self.cancelling == "silent":
            raise OutcomeUnknown(Code.REPLY_LOST)
        if self.cancelling == "refuse" or ticket.status != "WORKING":
            return [self.report(ticket, ReportKind.CANCEL_REFUSED), *self._all_of(ticket)]
        return [self.end(ticket, "CANCELLED")]

    async def modify(self, spec: ConnectionSpec, request: ModifyRequest) -> list[OrderReport]:
        self._called("modify", request.client_order_id)
        check_deadline(request)
        ticket = self._known(spec, request.client_order_id)[-1]
        ticket.request = replace(
            ticket.request, stop_loss=request.stop_loss, take_profit=request.take_profit
        )
        if self.nets and self.nets.has_own_stops:
            wanted = request.stop_loss is not None or request.take_profit is not None
            quantity = min(request.quantity or Decimal(0), ticket.held) if wanted else Decimal(0)
            self.nets.protected[ticket.number] = quantity
        return [self._levels(ticket)]

    async def find_order(
        self, spec: ConnectionSpec, client_order_id: str, symbol: str = ""
    ) -> list[OrderReport] | None:
        self._called("find_order", client_order_id)
        await self._hang(spec, "find_order")
        if self.reads_fail or not symbol:  # as exchanges do: it is found by its symbol only
            raise ReadFailed(Code.BROKER_UNREACHABLE)
        known = self._known(spec, client_order_id)
        found = [ticket for ticket in known if ticket.request.symbol == symbol]
        return [report for ticket in found for report in self._all_of(ticket)] or None

    async def _hang(self, spec: ConnectionSpec, read: str) -> None:
        if spec.connection_id in self.hung and read in self.hanging:
            await self.hang()

    async def positions(self, spec: ConnectionSpec) -> list[BrokerPosition]:
        self._called("positions", spec.connection_id)
        await self._hang(spec, "positions")
        if self.reads_fail:
            raise ReadFailed(Code.BROKER_UNREACHABLE)
        if self.nets:
            return self.nets.positions(spec.connection_id)
        return [
            BrokerPosition(
                broker_position_id=t.number,
                symbol=t.request.symbol,
                side=Side(t.request.side),
                quantity=t.held,
                entry_price=sum((f.quantity * f.price for f in t.fills), Decimal(0)) / t.filled,
                stop_loss=t.request.stop_loss,
                take_profit=t.request.take_profit,
                client_order_id=t.request.client_order_id,
            )
            for t in self.tickets
            if t.held > 0 and t.request.connection_id == spec.connection_id
        ]

    async def open_orders(self, spec: ConnectionSpec) -> list[BrokerOrder]:
        self._called("open_orders", spec.connection_id)
        await self._hang(spec, "open_orders")
        if self.reads_fail:
            raise ReadFailed(Code.BROKER_UNREACHABLE)
        return [
            BrokerOrder(
                broker_order_id=t.number,
                symbol=t.request.symbol,
                side=Side(t.request.side),
                order_type=OrderType(t.request.order_type),
                quantity=t.request.quantity,
                filled=t.filled,
                limit_price=t.request.limit_price,
                stop_price=t.request.stop_price,
                client_order_id=t.request.client_order_id,
            )
            for t in self.tickets
            if t.status == "WORKING" and t.request.connection_id == spec.connection_id
        ]

    async def fills_since(self, spec: ConnectionSpec, since: datetime) -> list[OrderReport]:
        self._called("fills_since", spec.connection_id)
        await self._hang(spec, "fills_since")
        if self.reads_fail or self.fills_horizon is None:
            raise ReadFailed(Code.BROKER_UNREACHABLE)
        return [
            self.report(t, ReportKind.FILLED, tuple(t.fills))
            for t in self.tickets
            if t.request.connection_id == spec.connection_id
            and any(fill.time >= since for fill in t.fills)
        ]

    async def events(self, limit: int, after: str = "") -> list[OrderReport]:
        self._called("events", "")
        behind = int(after.removeprefix("e") or 0)
        news = [self.news[key] for key in self.news if int(key.removeprefix("e")) > behind]
        return self.shuffle(news)[:limit]

    async def acknowledge(self, event_ids: Sequence[str]) -> None:
        for event_id in event_ids:
            self.news.pop(event_id, None)

    async def stream_events(self) -> AsyncIterator[None]:
        told: set[str] | None = None
        while True:
            waiting = set(self.news)
            if told is None or waiting - told:
                yield
            told = waiting
            await asyncio.sleep(0.005)  # the hands that write news are on another thread

    async def clock(self) -> datetime | None:
        return market_now()

    async def disconnect(self, spec: ConnectionSpec | None = None) -> None:
        await asyncio.sleep(0)

    async def journal(self, tag: str) -> Journal:
        if self.reads_fail:
            raise ReadFailed(Code.BROKER_UNREACHABLE)
        ours = [
            t
            for t in self.tickets
            if t.cause is None
            and t.status != "REJECTED"
            and t.request.client_order_id.startswith(tag)
        ]
        times = Counter((t.request.connection_id, t.request.client_order_id) for t in ours)
        return Journal(
            [Accepted(*key, times=n, first_at=market_now()) for key, n in times.items()],
            [
                Held(
                    t.request.connection_id,
                    number,
                    Side(t.request.side),
                    t.held,
                    t.request.client_order_id,
                )
                for t in self.tickets
                if t.held > 0 and (number := self.nets.number(t) if self.nets else t.number)
            ],
        )

    def _called(self, name: str, about: str) -> None:
        self.calls.append((name, about))
        self.on_call()

    def _known(self, spec: ConnectionSpec, client_order_id: str) -> list[Ticket]:
        return [
            t
            for t in self.tickets
            if t.request.client_order_id == client_order_id
            and t.request.connection_id == spec.connection_id
        ]

    def _all_of(self, ticket: Ticket) -> list[OrderReport]:
        """Everything that the book knows of one order."""
        told = []
        if ticket.fills:
            told.append(self.report(ticket, ReportKind.FILLED, tuple(ticket.fills)))
        if ticket.status in ENDS:
            told.append(self.report(ticket, ENDS[ticket.status]))
        return told or [self.report(ticket, ReportKind.ACCEPTED)]


@cache
def create() -> Double:
    """Make the one double, for the registry."""
    return Double()
