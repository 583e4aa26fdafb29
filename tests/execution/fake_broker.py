"""A broker with a memory, as an adapter of the broker type `double`.

Tests drive its books by hand (`receive`, `execute`, `end`, `exit_by_itself` of book.py) or through
`submit`, with scripted behaviour.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache

from brokers.account_capabilities import Capabilities
from brokers.adapter_base import AdapterBase
from brokers.base import (
    BrokerError,
    Guard,
    NotSent,
    OnOutcome,
    OutcomeUnknown,
    ReadFailed,
    Rejected,
    check_deadline,
)
from brokers.broker_books import AcceptedOrder, BookPosition, BrokerBooks
from brokers.connection_form import Form
from brokers.types import (
    AccountState,
    BrokerCashFlow,
    BrokerFunding,
    BrokerOrder,
    BrokerPosition,
    CancelRequest,
    ChangeRequest,
    Check,
    ConnectionSpec,
    ExitSafety,
    HeldLevels,
    Instrument,
    ModifyRequest,
    OrderField,
    OrderReport,
    OrderRequest,
    OrderType,
    PositionMode,
    ReportKind,
    Side,
    TimeInForce,
    WhatIf,
)
from common.clocks import market_now
from common.reason_codes import Code
from tests.execution.fake_broker_book import FakeBrokerBook
from tests.hanging import Hang

KIND, BOOK = "double", "double"


class FakeBroker(FakeBrokerBook, AdapterBase):
    """One broker for all connections of a test."""

    broker_type = KIND
    form = Form()

    def reset(self) -> None:
        """Forget everything and restore the default behaviour."""
        super().reset()
        self.calls: list[tuple[str, str]] = []
        self.behaviour: Callable[[OrderRequest], list[OrderReport]] = self.fill_at_once
        self.cancelling = "take"  # refuse, or no answer: "silent"
        self.changing = "take"  # refuse, not sent; no answer: "silent", and without effect: "lost"
        self.changes_orders = frozenset(OrderField)
        self.reads_fail = False
        self.history_lags = False  # orders that have ended are not found yet
        self.state: AccountState | None = None  # its report for every account, if set
        self.event_stream = True
        self.hang, self.hung = Hang(), set[str]()  # connections with reads that hang
        self.hanging = {
            "positions",
            "open_orders",
            "fills_since",
            "what_if",
        }  # the reads that hang
        self.fills_horizon: timedelta | None = timedelta(days=1)
        self.arrives_within = timedelta(0)
        self.shuffle: Callable[[list[OrderReport]], list[OrderReport]] = lambda reports: reports
        self.on_call: Callable[[], None] = lambda: None
        self.submit_many_at_once = False
        self.order_types = frozenset(OrderType) - {OrderType.TRAILING_STOP}
        self.cash_flows_horizon: timedelta | None = None
        self.flows: list[BrokerCashFlow] = []
        self.funding_horizon: timedelta | None = None
        self.fundings: list[BrokerFunding] = []
        self.margin: Decimal | None = None  # of one unit, if the broker reports margins

    def capabilities(self, spec: ConnectionSpec) -> Capabilities:
        return Capabilities(
            order_types=self.order_types,
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
            cash_flows_horizon=self.cash_flows_horizon,
            funding_horizon=self.funding_horizon,
            what_if=self.margin is not None,
            changes_orders=self.changes_orders,
            reports_margin=self.margin is not None,
        )

    def instrument_book(self, spec: ConnectionSpec) -> str:
        return BOOK

    async def what_if(self, spec: ConnectionSpec, request: OrderRequest) -> WhatIf:
        self._called("what_if", request.symbol)
        await self._hang(spec, "what_if")
        if self.margin is None:
            raise ReadFailed(Code.NOT_SUPPORTED)
        return WhatIf(self.margin * request.quantity, None, None, "USD")

    async def test(self, spec: ConnectionSpec) -> list[Check]:
        return []

    async def account(self, spec: ConnectionSpec) -> AccountState:
        if self.state is None:
            raise ReadFailed(Code.BROKER_UNREACHABLE)
        return self.state

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
        on_outcome: OnOutcome,
    ) -> None:
        for spec, request in requests:
            try:
                answer: list[OrderReport] | BrokerError = await self.submit(spec, request, guard)
            except BrokerError as error:
                answer = error
            on_outcome(request, answer)

    async def cancel(self, spec: ConnectionSpec, request: CancelRequest) -> list[OrderReport]:
        self._called("cancel", request.client_order_id)
        check_deadline(request)
        ticket = self.known(spec, request.client_order_id)[-1]
        if self.cancelling == "silent":
            raise OutcomeUnknown(Code.REPLY_LOST)
        if self.cancelling == "refuse" or ticket.status != "WORKING":
            return [self.report(ticket, ReportKind.CANCEL_REFUSED), *self.all_of(ticket)]
        return [self.end(ticket, "CANCELLED")]

    async def change_order(self, spec: ConnectionSpec, request: ChangeRequest) -> list[OrderReport]:
        self._called("change_order", request.client_order_id)
        check_deadline(request)
        if self.changing == "not sent":
            raise NotSent(Code.NOT_CONNECTED)
        if self.changing == "lost":
            raise OutcomeUnknown(Code.REPLY_LOST)
        ticket = self.known(spec, request.client_order_id)[-1]
        if ticket.status != "WORKING":
            raise Rejected(Code.ORDER_ENDED, ticket.status)
        if self.changing == "refuse" or request.terms.quantity <= ticket.filled:
            raise Rejected(Code.PRICE_INVALID, "not today")
        ticket.request = replace(
            ticket.request,
            quantity=request.terms.quantity,
            limit_price=request.terms.limit_price,
            stop_price=request.terms.stop_price,
        )
        if self.changing == "silent":
            raise OutcomeUnknown(Code.REPLY_LOST)
        return [replace(self.report(ticket, ReportKind.CHANGED), terms=request.terms)]

    async def modify(self, spec: ConnectionSpec, request: ModifyRequest) -> list[OrderReport]:
        self._called("modify", request.client_order_id)
        check_deadline(request)
        ticket = self.known(spec, request.client_order_id)[-1]
        ticket.request = self.kept(
            replace(ticket.request, stop_loss=request.stop_loss, take_profit=request.take_profit)
        )
        if self.nets and self.nets.has_own_stops:
            has_levels = request.stop_loss is not None or request.take_profit is not None
            quantity = (
                min(request.quantity or Decimal(0), ticket.held) if has_levels else Decimal(0)
            )
            self.nets.protected[ticket.number] = quantity
        return [self.levels(ticket)]

    async def find_order(
        self, spec: ConnectionSpec, client_order_id: str, symbol: str = ""
    ) -> list[OrderReport] | None:
        self._called("find_order", client_order_id)
        await self._hang(spec, "find_order")
        if self.reads_fail or not symbol:  # as exchanges do: it is found by its symbol only
            raise ReadFailed(Code.BROKER_UNREACHABLE)
        known = self.known(spec, client_order_id)
        found = [
            ticket
            for ticket in known
            if ticket.request.symbol == symbol
            and (ticket.status == "WORKING" or not self.history_lags)
        ]
        return [report for ticket in found for report in self.all_of(ticket)] or None

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
                entry_price=self.average_price(t),
                levels=HeldLevels(t.request.stop_loss, t.request.take_profit),
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
                trail_distance=t.request.trail_distance,
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

    async def cash_flows(self, spec: ConnectionSpec, since: datetime) -> list[BrokerCashFlow]:
        self._called("cash_flows", spec.connection_id)
        return [flow for flow in self.flows if flow.time >= since]

    async def funding(
        self, spec: ConnectionSpec, since: datetime, until: datetime
    ) -> list[BrokerFunding]:
        self._called("funding", spec.connection_id)
        return [one for one in self.fundings if since <= one.time <= until]

    async def events(self, limit: int, after: str = "") -> list[OrderReport]:
        self._called("events", "")
        behind = int(after.removeprefix("e") or 0)
        news = [self.news[key] for key in self.news if int(key.removeprefix("e")) > behind]
        return self.shuffle(news)[:limit]

    async def acknowledge(self, event_ids: Sequence[str]) -> None:
        for event_id in event_ids:
            self.news.pop(event_id, None)

    async def stream_events(self) -> AsyncIterator[None]:
        reported: set[str] | None = None
        while True:
            waiting = set(self.news)
            if reported is None or waiting - reported:
                yield
            reported = waiting
            await asyncio.sleep(0.005)  # reports are published by another thread

    async def clock(self) -> datetime | None:
        return market_now()

    async def disconnect(self, spec: ConnectionSpec | None = None) -> None:
        await asyncio.sleep(0)

    async def journal(self, id_prefix: str) -> BrokerBooks:
        if self.reads_fail:
            raise ReadFailed(Code.BROKER_UNREACHABLE)
        ours = [
            t
            for t in self.tickets
            if t.cause is None
            and t.status != "REJECTED"
            and t.request.client_order_id.startswith(id_prefix)
        ]
        times = Counter((t.request.connection_id, t.request.client_order_id) for t in ours)
        return BrokerBooks(
            [AcceptedOrder(*key, times=n, first_at=market_now()) for key, n in times.items()],
            [
                BookPosition(
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


@cache
def create() -> FakeBroker:
    """Return the one fake broker, for the registry."""
    return FakeBroker()
