"""The MetaTrader 5 adapter: one terminal for the whole process, its calls one after another.

It runs where the terminal runs, on Windows or Wine, in a worker of its own (docs/metatrader5.md).
"""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from functools import partial

from brokers.account_capabilities import Capabilities
from brokers.base import Guard, OnOutcome, Rejected, submit_each, unsupported_stream
from brokers.mt5 import connection_checks, lookup, reads, terminal_calls
from brokers.mt5.capabilities import capabilities_of
from brokers.mt5.form import FORM
from brokers.mt5.orders import OrderExecutor, is_exit
from brokers.mt5.session import MAIN, TerminalEndpoint
from brokers.mt5.terminal_thread import CallPriority, NoAnswerError, TerminalCall
from brokers.mt5.verified_logins import server_of
from brokers.record_cache import RECORD_CACHE, RecordCache
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
from common.clocks import machine_time
from common.reason_codes import Code

__all__ = ["FORM", "Mt5Adapter", "capabilities_of", "create"]
QUOTE_SECONDS = 0.25  # between two looks at the prices of a stream
QUOTE_REPEAT_SECONDS = (
    5.0  # a price that stands is told again: whoever hears it knows that it is one
)


def create() -> "Mt5Adapter":
    """Return this process's adapter. Calls fail where there is no package or no terminal.

    FILLCAST_MT5_TERMINAL: path of this worker's terminal64.exe; FILLCAST_MT5_PORTABLE: it keeps
    its data beside itself; FILLCAST_MT5_NAME: the name that connections call it by (`terminal`).
    All are the operator's: no account names a path.
    """
    endpoint = TerminalEndpoint(
        path=os.environ.get("FILLCAST_MT5_TERMINAL", ""),
        portable=os.environ.get("FILLCAST_MT5_PORTABLE", "").lower() in ("yes", "true", "1"),
        name=os.environ.get("FILLCAST_MT5_NAME", "") or MAIN,
    )
    return Mt5Adapter(endpoint)


class Mt5Adapter:
    """All MetaTrader 5 accounts of one worker. What their settings may say: `form.py`."""

    broker_type = "mt5"
    form = FORM

    def __init__(
        self, endpoint: TerminalEndpoint, record_cache: RecordCache = RECORD_CACHE
    ) -> None:
        self.calls = terminal_calls.TerminalCalls(endpoint, record_cache)

    def capabilities(self, spec: ConnectionSpec) -> Capabilities:
        return capabilities_of(spec, self.calls.terminal.modes.get(spec.connection_id))

    def instrument_book(self, spec: ConnectionSpec) -> str:
        """Each account has its own: groups of one server differ in names and contract sizes."""
        return f"mt5:{server_of(spec).lower()}:{spec.account}"

    async def connect(self, spec: ConnectionSpec) -> None:
        """Log the terminal in as this account. Raises ReadFailed."""
        await self.calls.read(spec, lambda terminal, one: terminal.enter(one))

    async def disconnect(self, spec: ConnectionSpec | None = None) -> None:
        """Leave the terminal with the last account; it stays logged in, for its own charts."""
        known = self.calls.open
        known -= set(known) if spec is None else {spec.connection_id}
        if not known:
            await self.calls.leave()

    # ---- orders ---------------------------------------------------------------------------
    async def submit(
        self, spec: ConnectionSpec, request: OrderRequest, guard: Guard
    ) -> list[OrderReport]:
        """Place one order. Raises NotSent, Rejected or OutcomeUnknown."""
        self._refuse_levels(spec, request)
        (mode,) = self.capabilities(spec).position_modes
        priority = CallPriority.EXIT if is_exit(request) else CallPriority.ENTRY
        return await self.calls.order(
            spec, lambda desk: desk.submit(request, guard, mode), priority, request.send_by or None
        )

    async def submit_many(
        self,
        requests: Sequence[tuple[ConnectionSpec, OrderRequest]],
        guard: Guard,
        on_outcome: OnOutcome,
    ) -> None:
        """One after another, exits first: a terminal takes no more. What the server says after the
        caller's patience is still told."""
        await submit_each(self, requests, guard, on_outcome)

    async def cancel(self, spec: ConnectionSpec, request: CancelRequest) -> list[OrderReport]:
        """Cancel an order. CANCEL_REFUSED, with what it did instead, when a fill was first."""
        return await self.calls.order(
            spec, lambda desk: desk.cancel(request), CallPriority.EXIT, request.send_by
        )

    async def modify(self, spec: ConnectionSpec, request: ModifyRequest) -> list[OrderReport]:
        """Set both levels of a position (or of a waiting entry); None takes one away."""
        self._refuse_levels(spec, request)
        return await self.calls.order(
            spec, lambda desk: desk.modify(request), CallPriority.EXIT, request.send_by
        )

    async def what_if(self, spec: ConnectionSpec, request: OrderRequest) -> WhatIf:
        """By the terminal's own reckoning. Raises Rejected, ReadFailed."""
        self._refuse_levels(spec, request)
        return await self.calls.ask(
            spec,
            lambda terminal, one: OrderExecutor(terminal, one, TerminalCall()).what_if(request),
        )

    def _refuse_levels(self, spec: ConnectionSpec, request: OrderRequest | ModifyRequest) -> None:
        """Raise Rejected for levels of an account whose levels we watch ourselves."""
        if request.stop_loss is None and request.take_profit is None:
            return
        if not self.capabilities(spec).native_stops:
            raise Rejected(Code.STOPS_INVALID, "stops and targets are watched here, not there")

    # ---- reads ----------------------------------------------------------------------------
    async def test(self, spec: ConnectionSpec) -> list[Check]:
        """Check terminal, login, permissions, mode, symbols, clock and line, one line for each."""
        try:
            return await self.calls.run(
                lambda _: connection_checks.run(self.calls.terminal, spec),
                2 * terminal_calls.READ_SECONDS,
            )
        except NoAnswerError as error:
            return [connection_checks.unresponsive(error.detail)]

    async def account(self, spec: ConnectionSpec) -> AccountState:
        return await self.calls.read(spec, reads.account)

    async def instruments(self, spec: ConnectionSpec) -> list[Instrument]:
        return await self.calls.read(spec, reads.instruments)

    async def find_order(
        self, spec: ConnectionSpec, client_order_id: str, symbol: str = ""
    ) -> list[OrderReport] | None:
        return await self.calls.read(spec, partial(lookup.find, client_order_id=client_order_id))

    async def positions(self, spec: ConnectionSpec) -> list[BrokerPosition]:
        return await self.calls.read(spec, reads.positions)

    async def open_orders(self, spec: ConnectionSpec) -> list[BrokerOrder]:
        return await self.calls.read(spec, reads.open_orders)

    async def fills_since(self, spec: ConnectionSpec, since: datetime) -> list[OrderReport]:
        return await self.calls.read(spec, partial(lookup.fills_since, since=since))

    async def quote(self, spec: ConnectionSpec, symbol: str) -> Quote:
        return await self.calls.read(spec, partial(reads.quote, symbol=symbol))

    async def stream_quotes(
        self, spec: ConnectionSpec, symbols: Sequence[str]
    ) -> AsyncIterator[Quote]:
        """Tell ticks within a quarter of a second, the latest of each symbol: it is polled. One
        that stands is told again now and then."""
        sent: dict[str, tuple[Quote, float]] = {}
        while True:
            for quote in await self.calls.read(spec, partial(reads.quotes, symbols=symbols)):
                last, at = sent.get(quote.symbol, (None, 0.0))
                if last != quote or machine_time() - at >= QUOTE_REPEAT_SECONDS:
                    sent[quote.symbol] = quote, machine_time()
                    yield quote
            await asyncio.sleep(QUOTE_SECONDS)

    # ---- what it does not tell ------------------------------------------------------------
    def stream_events(self) -> AsyncIterator[None]:
        """Nothing rings: this broker is polled, each `update_interval_seconds` (ADR 14)."""
        return unsupported_stream("MetaTrader's package calls nobody back: it is polled")

    async def events(self, limit: int, after: str = "") -> list[OrderReport]:
        return []

    async def acknowledge(self, event_ids: Sequence[str]) -> None:
        return None

    async def clock(self) -> datetime | None:
        """None: a terminal tells the time of ticks only; the connection test compares those."""
        return None
