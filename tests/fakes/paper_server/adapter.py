"""The paper broker's adapter when the broker is another process: the same three outcomes.

Before the write nothing has left: NotSent. After it only the broker's answer counts: a lost
connection, a time-out or a malformed answer is OutcomeUnknown. The broker accepts an order
however late it arrives.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from brokers.account_capabilities import Capabilities
from brokers.adapter_base import AdapterBase
from brokers.base import (
    Guard,
    NotSent,
    OnOutcome,
    OutcomeUnknown,
    ReadFailed,
    check_deadline,
    submit_one,
)
from brokers.broker_books import BrokerBooks
from brokers.paper.capabilities import capabilities_of
from brokers.paper.form import FORM
from brokers.paper.request_validation import malformed
from brokers.types import (
    AccountState,
    BrokerOrder,
    BrokerPosition,
    CancelRequest,
    ChangeRequest,
    Check,
    CheckResult,
    ConnectionSpec,
    Instrument,
    ModifyRequest,
    OrderReport,
    OrderRequest,
    Quote,
    WhatIf,
)
from common.reason_codes import Code
from tests.fakes.paper_server.connection import ConnectionManager
from tests.fakes.paper_server.endpoint import server_address
from tests.fakes.paper_server.notifications import NotificationListener
from tests.fakes.paper_server.orders import place
from tests.fakes.paper_server.pending_call import PendingCall, reply_timeout

READ_TIMEOUT, JOURNAL_TIMEOUT = 20.0, 120.0  # the books may hold a million orders


def create() -> "RemotePaper":
    """Make the adapter, for the registry."""
    return RemotePaper(*server_address())


class RemotePaper(AdapterBase):
    """All paper accounts of one process, at a broker that listens on host:port."""

    broker_type = "paper"
    form = FORM

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._reaches: WeakKeyDictionary[asyncio.AbstractEventLoop, ConnectionManager] = (
            WeakKeyDictionary()
        )

    def capabilities(self, spec: ConnectionSpec) -> Capabilities:
        """Return what the account can do, by its connection's settings."""
        return capabilities_of(spec)

    def instrument_book(self, spec: ConnectionSpec) -> str:
        return "paper"

    # ---- orders ---------------------------------------------------------------------------
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
        """Place many at once, 100 in a frame. Ends when each order has its outcome."""
        try:
            link = await self._reach().link()
        except OSError as error:
            for _, request in requests:
                on_outcome(request, NotSent(Code.NOT_CONNECTED, str(error)))
            return
        await place(link, requests, guard, on_outcome)

    async def cancel(self, spec: ConnectionSpec, request: CancelRequest) -> list[OrderReport]:
        """Cancel an order. CANCEL_REFUSED, with what it did instead, when a fill was first."""
        reports: list[OrderReport] = await self._change("cancel", spec, request)
        return reports

    async def change_order(self, spec: ConnectionSpec, request: ChangeRequest) -> list[OrderReport]:
        """Give a working order another price or quantity."""
        reports: list[OrderReport] = await self._change("change_order", spec, request)
        return reports

    async def modify(self, spec: ConnectionSpec, request: ModifyRequest) -> list[OrderReport]:
        """Set both levels of a position (or of a waiting entry); None takes one away."""
        reports: list[OrderReport] = await self._change("modify", spec, request)
        return reports

    async def what_if(self, spec: ConnectionSpec, request: OrderRequest) -> WhatIf:
        if wrong := malformed(request):  # it cannot be encoded
            raise wrong
        estimate: WhatIf = await self._read("what_if", spec, replace(request, send_by=0.0))
        return estimate

    # ---- reads ----------------------------------------------------------------------------
    async def connect(self, spec: ConnectionSpec) -> None:
        """Open this loop's connection and log in once. Raises ReadFailed."""
        await self._read("connect", spec)

    async def test(self, spec: ConnectionSpec) -> list[Check]:
        """Check reach, password, permission, mode and prices, one line for each."""
        try:
            found: list[Check] = await self._read("test", spec)
        except ReadFailed as error:
            hint = "Start `python -m tests.fakes.paper_server`, or correct PAPER_SERVER."
            return [Check("reach", CheckResult.FAIL, error.detail, hint)]
        return found

    async def account(self, spec: ConnectionSpec) -> AccountState:
        state: AccountState = await self._read("account", spec)
        return state

    async def instruments(self, spec: ConnectionSpec) -> list[Instrument]:
        found: list[Instrument] = await self._read("instruments", spec)
        return found

    async def quote(self, spec: ConnectionSpec, symbol: str) -> Quote:
        quote: Quote = await self._read("quote", spec, symbol)
        return quote

    async def find_order(
        self, spec: ConnectionSpec, client_order_id: str, symbol: str = ""
    ) -> list[OrderReport] | None:
        found: list[OrderReport] | None = await self._read("find_order", spec, client_order_id)
        return found

    async def positions(self, spec: ConnectionSpec) -> list[BrokerPosition]:
        found: list[BrokerPosition] = await self._read("positions", spec)
        return found

    async def open_orders(self, spec: ConnectionSpec) -> list[BrokerOrder]:
        found: list[BrokerOrder] = await self._read("open_orders", spec)
        return found

    async def fills_since(self, spec: ConnectionSpec, since: datetime) -> list[OrderReport]:
        reports: list[OrderReport] = await self._read("fills_since", spec, since)
        return reports

    async def journal(self, id_prefix: str) -> BrokerBooks:
        """Show the books, for the audit. Raises ReadFailed."""
        books: BrokerBooks = await self._read("journal", id_prefix, seconds=JOURNAL_TIMEOUT)
        return books

    async def events(self, limit: int, after: str = "") -> list[OrderReport]:
        reports: list[OrderReport] = await self._read("events", limit, after)
        return reports

    async def acknowledge(self, event_ids: Sequence[str]) -> None:
        await self._read("acknowledge", list(event_ids))

    async def stream_events(self) -> AsyncIterator[None]:
        """Yield when the server notifies. Raises ReadFailed when the connection is lost."""
        try:
            link = await self._reach().link()
        except OSError as error:
            raise ReadFailed(Code.BROKER_UNREACHABLE, str(error)) from error
        async for _ in NotificationListener().notifications(link):
            yield

    async def clock(self) -> datetime | None:
        time: datetime | None = await self._read("clock")
        return time

    async def disconnect(self, spec: ConnectionSpec | None = None) -> None:
        """Close this loop's connection; the next call opens one again. All accounts share it, so
        that one account's end closes nothing."""
        if spec is None:
            self._reach().close()

    # ---- the connection -------------------------------------------------------------------
    def _reach(self) -> ConnectionManager:
        loop = asyncio.get_running_loop()
        if loop not in self._reaches:
            self._reaches[loop] = ConnectionManager(self._host, self._port)
        return self._reaches[loop]

    async def _read(self, name: str, *arguments: Any, seconds: float = READ_TIMEOUT) -> Any:
        """Ask something that changes nothing. Raises ReadFailed."""
        try:
            answer = PendingCall(name, *arguments)
            return await answer.fetch(await self._reach().link(), seconds)
        except (OSError, OutcomeUnknown) as error:
            raise ReadFailed(Code.BROKER_UNREACHABLE, str(error)) from error

    async def _change(
        self,
        name: str,
        spec: ConnectionSpec,
        request: CancelRequest | ChangeRequest | ModifyRequest,
    ) -> Any:
        """Ask for a change. Raises NotSent, Rejected or OutcomeUnknown."""
        # The deadline is by our clock.
        answer = PendingCall(name, spec, replace(request, send_by=None))
        try:
            link = await self._reach().link()
            return await answer.fetch(link, reply_timeout(spec), partial(check_deadline, request))
        except OSError as error:
            raise NotSent(Code.NOT_CONNECTED, str(error)) from error
