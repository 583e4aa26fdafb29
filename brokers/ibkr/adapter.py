"""Interactive Brokers: TWS or IB Gateway over its socket.

Everything runs on the caller's event loop; no loop or thread is started here. A process without a
loop of its own gives one a thread and calls in with `asyncio.run_coroutine_threadsafe`. A loop has
its own sessions: one for each connection, kept open until `disconnect`.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from weakref import WeakKeyDictionary
from zoneinfo import ZoneInfo

from brokers.base import BrokerError, Guard, NotSent, ReadFailed, Tell
from brokers.ibkr import checks, levels, placing, reads
from brokers.ibkr.budget import Budget, Window
from brokers.ibkr.ledger import Ledger
from brokers.ibkr.news import News
from brokers.ibkr.pace import Pace
from brokers.ibkr.place import NEW_YORK, place_of
from brokers.ibkr.session import Session
from brokers.messages import (
    AccountState,
    BrokerOrder,
    BrokerPosition,
    CancelRequest,
    Capabilities,
    Check,
    CheckResult,
    ConnectionSpec,
    ExitSafety,
    Instrument,
    ModifyRequest,
    OrderReport,
    OrderRequest,
    OrderType,
    PositionMode,
    TimeInForce,
)
from common.clocks import market_now


@dataclass(slots=True)
class Desk:
    """What one event loop has: its sessions, their orders and what they have told."""

    news: News = field(default_factory=News)
    sessions: dict[str, Session] = field(default_factory=dict)
    budgets: dict[tuple[str, int], Budget] = field(default_factory=dict)
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.news)


class IbkrAdapter:
    """All IBKR connections of one process."""

    kind = "ibkr"

    def __init__(
        self,
        pace: Pace | None = None,
        *,
        budget_for: Callable[[str, int], Budget] = lambda host, port: Window(),
        client_id_for: Callable[[ConnectionSpec, int], int] = lambda spec, base: base,
    ) -> None:
        """budget_for: the allowance of a gateway (host, port), shared by all who talk to it.

        client_id_for: the clientId that a connection has leased; it gets the settings' own. It must
        be the same one each time: another cannot change or cancel the orders of the first.
        """
        self._pace = pace or Pace()
        self._budget_for, self._client_id_for = budget_for, client_id_for
        self._desks: WeakKeyDictionary[asyncio.AbstractEventLoop, Desk] = WeakKeyDictionary()

    def capabilities(self, spec: ConnectionSpec) -> Capabilities:
        """What the account can do. TWS tells today only: both horizons end at its midnight."""
        today = _since_midnight(str(spec.settings.get("timezone") or NEW_YORK))
        return Capabilities(
            order_types=frozenset(OrderType),
            times_in_force=frozenset(TimeInForce),
            native_stops=True,
            modify=True,
            position_modes=frozenset({PositionMode.NETTING}),
            partial_close=True,
            event_stream=True,
            price_stream=False,
            lookup_horizon=today,
            refuses_repeated_ids=False,
            exit_safety=ExitSafety.OCA,
            session=True,
            needs_credentials=False,  # the gateway is logged in by its owner
            fills_horizon=today,
        )

    def instrument_book(self, spec: ConnectionSpec) -> str:
        """Its own: the symbols are those of the connection's map."""
        return f"ibkr {spec.connection_id}"

    # ---- orders ---------------------------------------------------------------------------
    async def submit(
        self, spec: ConnectionSpec, request: OrderRequest, guard: Guard
    ) -> list[OrderReport]:
        """Place one order. Raises NotSent, Rejected or OutcomeUnknown."""
        try:
            session = await self._session(spec)
        except ReadFailed as error:
            raise NotSent(error.code, error.detail) from error
        return await placing.submit(session, request, guard)

    async def submit_many(
        self, requests: Sequence[tuple[ConnectionSpec, OrderRequest]], guard: Guard, tell: Tell
    ) -> None:
        """Place many beside each other; TWS itself takes one at a time."""

        async def one(spec: ConnectionSpec, request: OrderRequest) -> None:
            try:
                tell(request, await self.submit(spec, request, guard))
            except BrokerError as error:
                tell(request, error)

        await asyncio.gather(*(one(spec, request) for spec, request in requests))

    async def cancel(self, spec: ConnectionSpec, request: CancelRequest) -> list[OrderReport]:
        """Cancel an order. CANCEL_REFUSED, with what it did instead, when a fill was first."""
        return await placing.cancel(await self._session_to_write(spec), request)

    async def modify(self, spec: ConnectionSpec, request: ModifyRequest) -> list[OrderReport]:
        """Set both levels of a position; None takes one away."""
        return await levels.modify(await self._session_to_write(spec), request)

    # ---- reads ----------------------------------------------------------------------------
    async def test(self, spec: ConnectionSpec) -> list[Check]:
        """Check reach, client id, account, permission, symbols and clock, one line for each."""
        try:
            session = await self._session(spec)
        except ReadFailed as error:
            hint = "Correct the connection's settings."
            return [Check("settings", CheckResult.FAIL, error.detail, hint)]
        return await checks.run(session)

    async def account(self, spec: ConnectionSpec) -> AccountState:
        return await reads.account(await self._session(spec))

    async def instruments(self, spec: ConnectionSpec) -> list[Instrument]:
        return await reads.instruments(await self._session(spec))

    async def positions(self, spec: ConnectionSpec) -> list[BrokerPosition]:
        return await reads.positions(await self._session(spec))

    async def open_orders(self, spec: ConnectionSpec) -> list[BrokerOrder]:
        return await reads.open_orders(await self._session(spec))

    async def find_order(
        self, spec: ConnectionSpec, client_order_id: str, symbol: str = ""
    ) -> list[OrderReport] | None:
        return await reads.find_order(await self._session(spec), client_order_id)

    async def fills_since(self, spec: ConnectionSpec, since: datetime) -> list[OrderReport]:
        return await reads.fills_since(await self._session(spec), since)

    async def what_if(self, spec: ConnectionSpec, request: OrderRequest) -> reads.Margin:
        """Ask what an order would need. Raises Rejected or ReadFailed."""
        return await reads.what_if(await self._session(spec), request)

    async def events(self, limit: int, after: str = "") -> list[OrderReport]:
        return self._desk().news.read(limit, after)

    async def acknowledge(self, event_ids: Sequence[str]) -> None:
        self._desk().news.acknowledge(event_ids)

    async def clock(self) -> datetime | None:
        """IBKR's time by any session that is open; None: there is none."""
        for session in self._desk().sessions.values():
            if session.usable:
                return await reads.clock(session)
        return None

    async def disconnect(self) -> None:
        """Close this loop's sessions; the next call opens one again."""
        desk = self._desk()
        sessions, desk.sessions = list(desk.sessions.values()), {}
        for session in sessions:
            await session.close()

    # ---- sessions -------------------------------------------------------------------------
    def _desk(self) -> Desk:
        return self._desks.setdefault(asyncio.get_running_loop(), Desk())

    async def _session(self, spec: ConnectionSpec) -> Session:
        """Return the connection's session, anew where its settings changed. Raises ReadFailed."""
        desk, place = self._desk(), place_of(spec)
        place = replace(place, client_id=self._client_id_for(spec, place.client_id))
        known = desk.sessions.get(place.connection_id)
        if known is not None and known.place == place:
            return known
        gateway = place.host, place.port
        if gateway not in desk.budgets:
            desk.budgets[gateway] = self._budget_for(*gateway)
        budget = desk.budgets[gateway]
        desk.sessions[place.connection_id] = Session(place, desk.ledger, budget, self._pace)
        if known is not None:
            await known.close()
        return desk.sessions[place.connection_id]

    async def _session_to_write(self, spec: ConnectionSpec) -> Session:
        try:
            return await self._session(spec)
        except ReadFailed as error:
            raise NotSent(error.code, error.detail) from error


def _since_midnight(timezone: str) -> timedelta:
    """How long TWS's day is already. A zone that does not exist is New York."""
    try:
        zone = ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        zone = ZoneInfo(NEW_YORK)
    now = market_now()
    midnight = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    return now - midnight


def create() -> IbkrAdapter:
    """Return this process's adapter."""
    return IbkrAdapter()
