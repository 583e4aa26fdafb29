"""Interactive Brokers: TWS or IB Gateway over its API socket.

Everything runs on the caller's event loop; the adapter starts no loop and no thread. A process
without a loop runs one in a thread and calls with `asyncio.run_coroutine_threadsafe`. Each loop has
its own sessions: one for each connection, open until `disconnect`.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from weakref import WeakKeyDictionary

from brokers import rate_limits
from brokers.account_capabilities import Capabilities
from brokers.adapter_base import AdapterBase
from brokers.base import (
    Guard,
    NotSent,
    ReadFailed,
)
from brokers.event_buffer import EventBuffer
from brokers.ibkr import (
    bracket_orders,
    connection_checks,
    listing,
    order_changes,
    orders,
    prices,
    reads,
    what_if,
)
from brokers.ibkr.capabilities import capabilities_of
from brokers.ibkr.endpoint import endpoint_of
from brokers.ibkr.form import FORM
from brokers.ibkr.order_cache import OrderCache
from brokers.ibkr.session import Session
from brokers.ibkr.timing import RATE, Timing
from brokers.order_listing import ListedOrder
from brokers.rate_limits import Rate, RateLimiter
from brokers.record_cache import RECORD_CACHE, RecordCache
from brokers.types import (
    AccountState,
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
    Quote,
    WhatIf,
)
from common.reason_codes import Code


@dataclass(slots=True)
class LoopState:
    """The state of one event loop: its sessions, their orders and undelivered reports."""

    record_cache: RecordCache
    event_buffer: EventBuffer = field(default_factory=EventBuffer)
    sessions: dict[str, Session] = field(default_factory=dict)
    order_cache: OrderCache = field(init=False)

    def __post_init__(self) -> None:
        self.order_cache = OrderCache(self.event_buffer, self.record_cache)


class IbkrAdapter(AdapterBase):
    """All IBKR connections of one process."""

    broker_type = "ibkr"
    form = FORM

    def __init__(
        self,
        timing: Timing | None = None,
        *,
        rate_limiter_for: Callable[[str, Rate], RateLimiter] = rate_limits.rate_limiter_for,
        record_cache: RecordCache = RECORD_CACHE,
    ) -> None:
        """rate_limiter_for: returns the rate limiter of a gateway, shared by all its sessions."""
        self._timing, self._rate_limiter_for, self._record_cache = (
            timing or Timing(),
            rate_limiter_for,
            record_cache,
        )
        self._states: WeakKeyDictionary[asyncio.AbstractEventLoop, LoopState] = WeakKeyDictionary()

    def capabilities(self, spec: ConnectionSpec) -> Capabilities:
        """Return what the account supports."""
        return capabilities_of(spec)

    async def connect(self, spec: ConnectionSpec) -> None:
        """Open the account's session and keep it. Raises ReadFailed."""
        await (await self._session(spec)).ready()

    async def disconnect(self, spec: ConnectionSpec | None = None) -> None:
        """Close one account's session, or all of this loop's; the next call opens it again."""
        sessions = self._state().sessions
        for connection_id in [spec.connection_id] if spec is not None else list(sessions):
            if (session := sessions.pop(connection_id, None)) is not None:
                await session.close()

    # ---- orders ---------------------------------------------------------------------------
    async def submit(
        self, spec: ConnectionSpec, request: OrderRequest, guard: Guard
    ) -> list[OrderReport]:
        """Place one order. Raises NotSent, Rejected or OutcomeUnknown."""
        try:
            session = await self._session(spec)
        except ReadFailed as error:
            raise NotSent(error.code, error.detail) from error
        return await orders.submit(session, request, guard)

    async def cancel(self, spec: ConnectionSpec, request: CancelRequest) -> list[OrderReport]:
        """Cancel an order. If it ended first: CANCEL_REFUSED, followed by its reports."""
        return await orders.cancel(await self._session_to_write(spec), request)

    async def change_order(self, spec: ConnectionSpec, request: ChangeRequest) -> list[OrderReport]:
        """Change price or quantity of a working order; its stop and target follow the quantity."""
        return await order_changes.change_order(await self._session_to_write(spec), request)

    async def modify(self, spec: ConnectionSpec, request: ModifyRequest) -> list[OrderReport]:
        """Set both levels of a position; None removes one."""
        return await bracket_orders.modify(await self._session_to_write(spec), request)

    # ---- reads ----------------------------------------------------------------------------
    async def test(self, spec: ConnectionSpec) -> list[Check]:
        """Test reachability, client id, account, permission, symbols and clock."""
        try:
            session = await self._session(spec)
        except ReadFailed as error:
            return [connection_checks.failed_session_check(error)]
        return await connection_checks.run(session)

    async def account(self, spec: ConnectionSpec) -> AccountState:
        """Read the account's balance, equity and margins. Raises ReadFailed."""
        return await reads.account(await self._session(spec))

    async def instruments(self, spec: ConnectionSpec) -> list[Instrument]:
        """Read the instruments of the connection's symbol map. Raises ReadFailed."""
        return await reads.instruments(await self._session(spec))

    async def positions(self, spec: ConnectionSpec) -> list[BrokerPosition]:
        """Read all open positions. Raises ReadFailed."""
        return await reads.positions(await self._session(spec))

    async def open_orders(self, spec: ConnectionSpec) -> list[BrokerOrder]:
        """Read all working orders. Raises ReadFailed."""
        return await reads.open_orders(await self._session(spec))

    async def find_order(
        self, spec: ConnectionSpec, client_order_id: str, symbol: str = ""
    ) -> list[OrderReport] | None:
        """Return all that IBKR has about an order; None if it certainly has nothing today.

        symbol: not needed. Raises ReadFailed."""
        return await reads.find_order(await self._session(spec), client_order_id)

    async def fills_since(self, spec: ConnectionSpec, since: datetime) -> list[OrderReport]:
        """Read today's executions since a time. Raises ReadFailed."""
        return await reads.fills_since(await self._session(spec), since)

    async def listed_orders(self, spec: ConnectionSpec, since: datetime) -> list[ListedOrder]:
        """List the orders that work or were executed today, by IBKR's own numbers."""
        return await listing.listed_orders(await self._session(spec), since)

    async def what_if(self, spec: ConnectionSpec, request: OrderRequest) -> WhatIf:
        """Return what an order would cost, without placing it. Raises Rejected or ReadFailed."""
        return await what_if.what_if(await self._session(spec), request)

    async def quote(self, spec: ConnectionSpec, symbol: str) -> Quote:
        """Read the current top of book. Raises ReadFailed."""
        return await prices.quote(await self._session(spec), symbol)

    async def stream_quotes(
        self, spec: ConnectionSpec, symbols: Sequence[str]
    ) -> AsyncGenerator[Quote, None]:
        """Yield live prices, across reconnects to the gateway, until it is closed."""
        async with aclosing(prices.stream(await self._session(spec), symbols)) as quotes:
            async for quote in quotes:
                yield quote

    # ---- reports that IBKR pushes -----------------------------------------------------------
    def stream_events(self) -> AsyncGenerator[None, None]:
        """Yield when `events` has something new."""
        return self._state().event_buffer.notifications()

    async def events(self, limit: int, after: str = "") -> list[OrderReport]:
        """Return the oldest reports that were not acknowledged yet."""
        return self._state().event_buffer.read(limit, after)

    async def acknowledge(self, event_ids: Sequence[str]) -> None:
        """Drop reports that are stored."""
        self._state().event_buffer.acknowledge(event_ids)

    async def clock(self) -> datetime | None:
        """Return IBKR's time from any open session; None if there is none."""
        for session in self._state().sessions.values():
            if session.usable:
                return await reads.clock(session)
        return None

    # ---- sessions -------------------------------------------------------------------------
    def _state(self) -> LoopState:
        loop = asyncio.get_running_loop()
        if (state := self._states.get(loop)) is None:
            state = self._states[loop] = LoopState(self._record_cache)
        return state

    async def _session(self, spec: ConnectionSpec) -> Session:
        """Return the connection's session; a new one if its settings changed. Raises ReadFailed."""
        state, endpoint = self._state(), endpoint_of(spec)
        known = state.sessions.get(endpoint.connection_id)
        if known is not None and known.endpoint == endpoint:
            return known
        for other in state.sessions.values():
            if other is not known and other.endpoint.address == endpoint.address:
                # Do not name the other connection: it may be another tenant's.
                detail = f"another connection has client id {endpoint.client_id} there"
                raise ReadFailed(Code.CLIENT_ID_IN_USE, detail)
        rate_limiter = self._rate_limiter_for(f"ibkr {endpoint.host.lower()}:{endpoint.port}", RATE)
        session = state.sessions[endpoint.connection_id] = Session(
            endpoint, state.order_cache, rate_limiter, self._timing
        )
        if known is not None:
            await known.close()
        return session  # a concurrent `disconnect` may have closed it: then it sends nothing

    async def _session_to_write(self, spec: ConnectionSpec) -> Session:
        try:
            return await self._session(spec)
        except ReadFailed as error:
            raise NotSent(error.code, error.detail) from error
