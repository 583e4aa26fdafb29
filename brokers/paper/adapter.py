"""The door to the paper broker: the same interface as every other broker's."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, ParamSpec, TypeVar

import psycopg

from brokers.account_capabilities import Capabilities
from brokers.base import (
    BrokerAdapter,
    Guard,
    NotSent,
    OnOutcome,
    OutcomeUnknown,
    ReadFailed,
    Rejected,
    check_deadline,
    submit_one,
    unsupported_stream,
)
from brokers.broker_books import BrokerBooks
from brokers.paper import account_actions, broker_books, connection_checks, notifications, reads
from brokers.paper.capabilities import capabilities_of
from brokers.paper.db_sessions import sessions
from brokers.paper.form import FORM, REPLY_TIMEOUT
from brokers.paper.network_simulator import Delivery, Sending, WorkerThreads
from brokers.paper.reads import AccountLine
from brokers.paper.what_if import what_if
from brokers.types import (
    AccountState,
    BrokerOrder,
    BrokerPosition,
    CancelRequest,
    Check,
    ConnectionSpec,
    Instrument,
    ModifyRequest,
    OrderReport,
    OrderRequest,
    Quote,
    WhatIf,
)
from common.clocks import market_now
from common.reason_codes import Code

P = ParamSpec("P")
T = TypeVar("T")
ChangeRequest = TypeVar("ChangeRequest", CancelRequest, ModifyRequest)


def create() -> BrokerAdapter:
    """Make the adapter, for the registry."""
    return PaperAdapter()


class PaperAdapter:
    """All paper accounts of one process.

    Its prices are those that our own prices process gives it, so it streams none back.
    """

    broker_type = "paper"
    form = FORM

    def __init__(self) -> None:
        self._desks = WorkerThreads()
        self._under_way: set[asyncio.Task[Any]] = set()

    def capabilities(self, spec: ConnectionSpec) -> Capabilities:
        """What the account can do, by what its connection's settings say of it."""
        return capabilities_of(spec)

    def instrument_book(self, spec: ConnectionSpec) -> str:
        return "paper"

    async def connect(self, spec: ConnectionSpec) -> None:
        """Log in once, to say what is wrong; nothing is kept open for an account."""
        await self._line_for_reading(spec)

    async def test(self, spec: ConnectionSpec) -> list[Check]:
        """Check reach, password, permission, mode and prices, one line for each."""
        return await self._desks.run(connection_checks.run, spec)

    async def account(self, spec: ConnectionSpec) -> AccountState:
        line = await self._line_for_reading(spec)
        return await self._read(reads.account_state, line.account_id)

    async def instruments(self, spec: ConnectionSpec) -> list[Instrument]:
        return await self._read(reads.instruments)

    async def quote(self, spec: ConnectionSpec, symbol: str) -> Quote:
        await self._line_for_reading(spec)
        return await self._read(reads.quote, symbol)

    def stream_quotes(self, spec: ConnectionSpec, symbols: Sequence[str]) -> AsyncIterator[Quote]:
        return unsupported_stream("the paper broker streams no prices")

    async def what_if(self, spec: ConnectionSpec, request: OrderRequest) -> WhatIf:
        line = await self._line_for_reading(spec)
        return await self._read(what_if, line.account_id, request)

    async def submit(
        self, spec: ConnectionSpec, request: OrderRequest, guard: Guard
    ) -> list[OrderReport]:
        """Place one order. Raises NotSent, Rejected or OutcomeUnknown."""
        return await submit_one(self, spec, request, guard)

    async def submit_many(
        self,
        requests: Sequence[tuple[ConnectionSpec, OrderRequest]],
        guard: Guard,
        on_outcome: OnOutcome,
    ) -> None:
        """Place many at once. guard runs when an order leaves and, in a thread, when it arrives.

        Returns when each outcome is reported; for a lost reply that is OutcomeUnknown, after
        `reply_timeout`. Cancelling the call does not recall the orders that have left.
        """
        try:
            lines = await self._desks.run(
                reads.account_lines, {spec.account for spec, _ in requests}
            )
        except psycopg.Error as error:  # not even the line was found: nothing has left
            for _, request in requests:
                on_outcome(request, NotSent(Code.NOT_CONNECTED, type(error).__name__))
            return
        sendings: list[Sending] = []
        for spec, request in requests:
            if line := lines.get(spec.account):
                sendings.append((spec, request, line))
            else:
                on_outcome(request, Rejected(Code.UNKNOWN_ACCOUNT, spec.account))
        await Delivery(self._desks, guard, on_outcome, self._under_way).send(sendings)

    async def cancel(self, spec: ConnectionSpec, request: CancelRequest) -> list[OrderReport]:
        """Cancel an order. CANCEL_REFUSED, with what it did instead, when a fill was first."""
        work = partial(account_actions.cancel, connection_id=spec.connection_id)
        return await self._ask(spec, work, request)

    async def modify(self, spec: ConnectionSpec, request: ModifyRequest) -> list[OrderReport]:
        """Set both levels of a position (or of a waiting entry); None takes one away."""
        return await self._ask(spec, account_actions.modify, request)

    async def find_order(
        self, spec: ConnectionSpec, client_order_id: str, symbol: str = ""
    ) -> list[OrderReport] | None:
        line = await self._line_for_reading(spec)
        return await self._read(reads.find_order, line.account_id, client_order_id)

    async def positions(self, spec: ConnectionSpec) -> list[BrokerPosition]:
        line = await self._line_for_reading(spec)
        return await self._read(reads.positions, line.account_id)

    async def open_orders(self, spec: ConnectionSpec) -> list[BrokerOrder]:
        line = await self._line_for_reading(spec)
        return await self._read(reads.open_orders, line.account_id)

    async def fills_since(self, spec: ConnectionSpec, since: datetime) -> list[OrderReport]:
        line = await self._line_for_reading(spec)
        return await self._read(reads.fills_since, line.account_id, spec.connection_id, since)

    async def journal(self, tag: str) -> BrokerBooks:
        """Show the books, for the audit. Raises ReadFailed."""
        return await self._read(broker_books.read, tag)

    async def events(self, limit: int, after: str = "") -> list[OrderReport]:
        return await self._read(reads.events, limit, after)

    async def acknowledge(self, event_ids: Sequence[str]) -> None:
        await self._read(reads.acknowledge, event_ids)

    def stream_events(self) -> AsyncIterator[None]:
        return notifications.notifications()

    async def clock(self) -> datetime | None:
        return market_now()

    async def disconnect(self, spec: ConnectionSpec | None = None) -> None:
        """Close the connections to the books; the next call opens them again. An account has none
        of its own."""
        if spec is None:
            await self._desks.run(sessions.close)

    async def _ask(
        self,
        spec: ConnectionSpec,
        work: Callable[[int, ChangeRequest], list[OrderReport]],
        request: ChangeRequest,
    ) -> list[OrderReport]:
        """Cancel or modify: over the same line as orders, with its delays and faults. Its deadline
        counts when it leaves and, as an order's, when it is written."""
        try:
            line = await self._line_for_reading(spec)
        except ReadFailed as error:
            raise NotSent(error.code, error.detail) from error
        check_deadline(request)
        await asyncio.sleep(line.latency_ms / 1000)
        if not line.silent_before:
            try:
                answer = await self._desks.run(work, line.account_id, request)
            except psycopg.Error as error:
                raise OutcomeUnknown(Code.REPLY_LOST, type(error).__name__) from error
        if line.silent_before or line.silent_after:
            await asyncio.sleep(float(spec.settings.get("reply_timeout", REPLY_TIMEOUT)))
            raise OutcomeUnknown(Code.REPLY_LOST, "no answer")
        await asyncio.sleep(line.reply_delay_ms / 1000)
        return answer

    async def _line_for_reading(self, spec: ConnectionSpec) -> AccountLine:
        """Log in. Raises ReadFailed."""
        found = await self._read(reads.account_lines, [spec.account])
        line = found.get(spec.account)
        if line is None:
            raise ReadFailed(Code.UNKNOWN_ACCOUNT, spec.account)
        if line.unreachable:
            raise ReadFailed(Code.BROKER_UNREACHABLE, "the paper broker cannot be reached")
        if not line.admits(spec.credentials.get("password", "")):
            raise ReadFailed(Code.CREDENTIALS_REFUSED)
        return line

    async def _read(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await self._desks.run(work, *args, **kwargs)
        except psycopg.Error as error:
            raise ReadFailed(Code.BROKER_UNREACHABLE, type(error).__name__) from error
