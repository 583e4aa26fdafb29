"""The MetaTrader 5 adapter: one terminal for each process, one call at a time.

It runs beside the terminal, on Windows or Wine, in a separate worker (docs/metatrader5.md).
"""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from functools import partial

from brokers.account_capabilities import Capabilities
from brokers.adapter_base import AdapterBase
from brokers.base import (
    Guard,
    Rejected,
)
from brokers.mt5 import activity, connection_checks, lookup, reads, terminal_calls
from brokers.mt5.capabilities import capabilities_of
from brokers.mt5.form import FORM
from brokers.mt5.orders import OrderExecutor, is_exit
from brokers.mt5.own_terminal import VARIABLE, TerminalEndpoint, read_terminal
from brokers.mt5.terminal_thread import CallPriority, NoAnswerError, TerminalCall
from brokers.mt5.verified_logins import server_of
from brokers.record_cache import RECORD_CACHE, RecordCache
from brokers.types import (
    AccountState,
    BrokerCashFlow,
    BrokerOrder,
    BrokerPosition,
    CancelRequest,
    ChangeRequest,
    Check,
    ConnectionSpec,
    Instrument,
    ModifyRequest,
    OrderReport,
    OrderRequest,
    PositionMode,
    Quote,
    WhatIf,
)
from brokers.unlisted_refusals import UnlistedRefusal, found_or_refused
from common.clocks import machine_time
from common.reason_codes import Code

__all__ = ["FORM", "Mt5Adapter", "capabilities_of", "create"]
QUOTE_SECONDS = 0.25  # interval at which a stream polls prices
QUOTE_REPEAT_SECONDS = 5.0  # an unchanged price is sent again, so that it does not look stale


def create() -> "Mt5Adapter":
    """Return this process's adapter. Its calls fail without the package or a terminal.

    FILLCAST_MT5_TERMINAL names it (`own_terminal.py`). Only the operator does: an account never
    names a path.
    """
    named = os.environ.get(VARIABLE, "").strip()
    endpoint = read_terminal(named) if named else TerminalEndpoint()
    return Mt5Adapter(endpoint)


class Mt5Adapter(AdapterBase):
    """All MetaTrader 5 accounts of one worker. Their settings: `form.py`."""

    broker_type = "mt5"
    form = FORM

    def __init__(
        self, endpoint: TerminalEndpoint, record_cache: RecordCache = RECORD_CACHE
    ) -> None:
        self.calls = terminal_calls.TerminalCalls(endpoint, record_cache)

    def capabilities(self, spec: ConnectionSpec) -> Capabilities:
        """Return what the account supports, by its position mode once the terminal has read it."""
        return capabilities_of(spec, self.calls.terminal.modes.get(spec.connection_id))

    def instrument_book(self, spec: ConnectionSpec) -> str:
        """Return a name for this account only: groups of one server differ in symbols and lots."""
        return f"mt5:{server_of(spec).lower()}:{spec.account}"

    async def connect(self, spec: ConnectionSpec) -> None:
        """Log the terminal in as this account. Raises ReadFailed."""
        await self.calls.read(spec, lambda terminal, one: terminal.ensure_account(one))

    async def disconnect(self, spec: ConnectionSpec | None = None) -> None:
        """Release the terminal with the last account. It stays logged in, for its own charts."""
        known = self.calls.connection_ids
        known -= set(known) if spec is None else {spec.connection_id}
        if not known:
            await self.calls.leave()

    # ---- orders ---------------------------------------------------------------------------
    async def submit(
        self, spec: ConnectionSpec, request: OrderRequest, guard: Guard
    ) -> list[OrderReport]:
        """Place one order. Raises NotSent, Rejected or OutcomeUnknown."""
        self._require_native_levels(spec, request)
        (mode,) = self.capabilities(spec).position_modes
        priority = CallPriority.EXIT if is_exit(request) else CallPriority.ENTRY
        try:
            return await self.calls.order(
                spec,
                lambda executor: executor.submit(request, guard, mode),
                priority,
                request.send_by or None,
            )
        except UnlistedRefusal as error:
            if is_exit(request) and mode is not PositionMode.HEDGING:
                raise  # a repetition of it could open the other side
            look_up = partial(self.find_order, spec, request.client_order_id)
            return await found_or_refused(error, look_up, lookup.settle_seconds(spec))

    async def cancel(self, spec: ConnectionSpec, request: CancelRequest) -> list[OrderReport]:
        """Cancel an order. If it ended first: its reports and CANCEL_REFUSED."""
        return await self.calls.order(
            spec, lambda executor: executor.cancel(request), CallPriority.EXIT, request.send_by
        )

    async def change_order(self, spec: ConnectionSpec, request: ChangeRequest) -> list[OrderReport]:
        """Change the prices of a working order. Its quantity cannot be changed: Rejected."""
        return await self.calls.order(
            spec, lambda executor: executor.change_order(request), CallPriority.EXIT,
            request.send_by,
        )  # fmt: skip

    async def modify(self, spec: ConnectionSpec, request: ModifyRequest) -> list[OrderReport]:
        """Set both levels of a position (or of a working entry); None removes one."""
        self._require_native_levels(spec, request)
        return await self.calls.order(
            spec, lambda executor: executor.modify(request), CallPriority.EXIT, request.send_by
        )

    async def what_if(self, spec: ConnectionSpec, request: OrderRequest) -> WhatIf:
        """Return what an order would cost by the terminal. Raises Rejected, ReadFailed."""
        self._require_native_levels(spec, request)
        return await self.calls.read_or_reject(
            spec,
            lambda terminal, one: OrderExecutor(terminal, one, TerminalCall()).what_if(request),
        )

    def _require_native_levels(
        self, spec: ConnectionSpec, request: OrderRequest | ModifyRequest
    ) -> None:
        """Raise Rejected for levels of an account whose levels the engine executes."""
        if request.stop_loss is None and request.take_profit is None:
            return
        if not self.capabilities(spec).native_stops:
            detail = "the engine executes this account's levels, not the broker"
            raise Rejected(Code.STOPS_INVALID, detail)

    # ---- reads ----------------------------------------------------------------------------
    async def test(self, spec: ConnectionSpec) -> list[Check]:
        """Test terminal, login, permissions, mode, symbols, clock and connection."""
        try:
            return await self.calls.run(
                lambda _: connection_checks.run(self.calls.terminal, spec),
                2 * terminal_calls.READ_SECONDS,
            )
        except NoAnswerError as error:
            return [connection_checks.unresponsive(error.detail)]

    async def account(self, spec: ConnectionSpec) -> AccountState:
        """Read balance, equity and margins. Raises ReadFailed."""
        return await self.calls.read(spec, reads.account)

    async def instruments(self, spec: ConnectionSpec) -> list[Instrument]:
        """Read all tradable symbols. Raises ReadFailed."""
        return await self.calls.read(spec, reads.instruments)

    async def find_order(
        self, spec: ConnectionSpec, client_order_id: str, symbol: str = ""
    ) -> list[OrderReport] | None:
        """Return all that is known of an order; None if it certainly does not exist.

        symbol: not needed. Raises ReadFailed."""
        return await self.calls.read(spec, partial(lookup.find, client_order_id=client_order_id))

    async def positions(self, spec: ConnectionSpec) -> list[BrokerPosition]:
        """Read all open positions. Raises ReadFailed."""
        return await self.calls.read(spec, reads.positions)

    async def open_orders(self, spec: ConnectionSpec) -> list[BrokerOrder]:
        """Read all working orders. Raises ReadFailed."""
        return await self.calls.read(spec, reads.open_orders)

    async def fills_since(self, spec: ConnectionSpec, since: datetime) -> list[OrderReport]:
        """Read executions since a time, and some before it. Raises ReadFailed."""
        return await self.calls.read(spec, partial(lookup.fills_since, since=since))

    async def cash_flows(self, spec: ConnectionSpec, since: datetime) -> list[BrokerCashFlow]:
        """Read deposits and withdrawals since a time. Raises ReadFailed."""
        return await self.calls.read(spec, partial(lookup.cash_flows, since=since))

    async def quote(self, spec: ConnectionSpec, symbol: str) -> Quote:
        """Read the latest tick. Raises ReadFailed."""
        return await self.calls.read(spec, partial(reads.quote, symbol=symbol))

    async def stream_quotes(
        self, spec: ConnectionSpec, symbols: Sequence[str]
    ) -> AsyncIterator[Quote]:
        """Poll the latest tick of each symbol every quarter of a second, and yield what is new.

        An unchanged tick is repeated every QUOTE_REPEAT_SECONDS."""
        sent: dict[str, tuple[Quote, float]] = {}
        while True:
            for quote in await self.calls.read(spec, partial(reads.quotes, symbols=symbols)):
                last, at = sent.get(quote.symbol, (None, 0.0))
                if last != quote or machine_time() - at >= QUOTE_REPEAT_SECONDS:
                    sent[quote.symbol] = quote, machine_time()
                    yield quote
            await asyncio.sleep(QUOTE_SECONDS)

    def watch_orders(self, spec: ConnectionSpec) -> AsyncIterator[None]:
        """Yield when the numbers of the account's orders, positions or deals change."""
        return activity.watch(self.calls.activity, spec)

    # ---- not supported --------------------------------------------------------------------
