"""The adapter of MetaTrader 4 by files. It maps each failure to the outcome of an order or a read.

Settings of a connection: `folder` (a name under FILLCAST_MT4_ROOT), `symbols` (lots.py),
`server_zone` (server_time.py), `history_days`, and the seconds of timeouts.py. Credentials:
`password`, the key in the folder. `file_watcher.py` finds changes that we did not request.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from brokers.account_capabilities import Capabilities
from brokers.adapter_base import AdapterBase
from brokers.base import (
    Guard,
    NotSent,
    ReadFailed,
)
from brokers.connection_form import Form
from brokers.dwx import connection_checks, order_changes, orders, prices, reads
from brokers.dwx.capabilities import capabilities_of
from brokers.dwx.client import DwxClient
from brokers.dwx.file_watcher import FileWatcher
from brokers.dwx.folders import TerminalUnavailableError, check_key, folder_of
from brokers.dwx.form import FORM
from brokers.dwx.mt_platform import MT4, Platform
from brokers.dwx.server_time import NEW_YORK_CLOSE, Zone
from brokers.dwx.terminal import Terminal
from brokers.dwx.terminal_state import HistoryNeededError
from brokers.dwx.timeouts import Timeouts
from brokers.record_cache import RECORD_CACHE, RecordCache
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


def create(root: str | None = None) -> "DwxAdapter":
    """Create the adapter, for the registry. root: None: FILLCAST_MT4_ROOT of the environment."""
    return DwxAdapter(valid_root(root))


def valid_root(text: str | None) -> Path | None:
    """Return the operators' root folder; None if it is not set: then no terminal can be used."""
    where = os.environ.get("FILLCAST_MT4_ROOT", "") if text is None else text
    return Path(where) if where else None


class DwxAdapter(AdapterBase):
    """All terminals of one process."""

    def __init__(
        self,
        root: Path | None,
        broker_type: str = "mt4",
        form: Form = FORM,
        platform: Platform = MT4,
        record_cache: RecordCache = RECORD_CACHE,
    ) -> None:
        self.broker_type, self.form = broker_type, form
        self._root, self._platform, self._record_cache = root, platform, record_cache
        self._terminals: dict[Path, Terminal] = {}
        self._folders: dict[str, Path] = {}  # by connection
        self._lock = threading.Lock()
        self._watch = FileWatcher()

    def capabilities(self, spec: ConnectionSpec) -> Capabilities:
        """Return what the account supports."""
        return capabilities_of(spec, takes_expiry=not self._platform.by_deals)

    def instrument_book(self, spec: ConnectionSpec) -> str:
        """Return a name for this terminal only: the connection's settings define its lots."""
        return f"{self.broker_type}:{spec.settings.get('folder', '')}"

    # ---- orders ---------------------------------------------------------------------------
    async def submit(
        self, spec: ConnectionSpec, request: OrderRequest, guard: Guard
    ) -> list[OrderReport]:
        """Place or close. Raises NotSent, Rejected or OutcomeUnknown."""
        async with self._turn(spec, request.send_by) as client:
            act = orders.close if request.reduce_only else orders.place
            return await act(client, request, guard)

    async def cancel(self, spec: ConnectionSpec, request: CancelRequest) -> list[OrderReport]:
        """Delete a working order. If it was filled first: the fill and CANCEL_REFUSED."""
        async with self._turn(spec, request.send_by) as client:
            return await orders.cancel(client, request)

    async def change_order(self, spec: ConnectionSpec, request: ChangeRequest) -> list[OrderReport]:
        """Give a waiting order another price. Raises NotSent, Rejected or OutcomeUnknown."""
        async with self._turn(spec, request.send_by) as client:
            return await order_changes.change_order(client, request)

    async def modify(self, spec: ConnectionSpec, request: ModifyRequest) -> list[OrderReport]:
        """Set both levels of a position or of a working order; None removes one."""
        async with self._turn(spec, request.send_by) as client:
            return await orders.modify(client, request)

    # ---- reads ----------------------------------------------------------------------------
    async def connect(self, spec: ConnectionSpec) -> None:
        """Lock the folder for this process, and watch its files. Raises ReadFailed."""
        async with self._read_in_turn(spec) as client:
            await client.snapshot()
            await prices.subscribe(client, [])  # an absence is proven only while prices move

    async def test(self, spec: ConnectionSpec) -> list[Check]:
        """Test folder, key, expert advisor, account, limits, symbols and the server's time."""
        try:
            client = await self._client(spec)
        except TerminalUnavailableError as error:
            return [Check("folder", CheckResult.FAIL, error.detail, connection_checks.FOLDER)]
        return await connection_checks.run(client)

    async def account(self, spec: ConnectionSpec) -> AccountState:
        """Read balance, equity and margins, and start to watch the terminal. Raises ReadFailed."""
        async with self._read(spec) as client:
            self._watch.take_and_watch(client)  # reading the account opens a session
            return await reads.account(client)

    async def instruments(self, spec: ConnectionSpec) -> list[Instrument]:
        """Return the symbols of the connection's settings, with the terminal's own lot bounds."""
        async with self._read(spec) as client:
            return await connection_checks.instruments(client)

    async def find_order(
        self, spec: ConnectionSpec, client_order_id: str, symbol: str = ""
    ) -> list[OrderReport] | None:
        """Return all that is known of an order; None if it certainly does not exist.

        symbol: not needed. Raises ReadFailed."""
        async with self._read_in_turn(spec) as client:
            return await reads.find(client, client_order_id)

    async def positions(self, spec: ConnectionSpec) -> list[BrokerPosition]:
        """Read all open positions. Raises ReadFailed."""
        async with self._read(spec) as client:
            self._watch.take_and_watch(client)
            return (await reads.positions(client)).positions()

    async def open_orders(self, spec: ConnectionSpec) -> list[BrokerOrder]:
        """Read all working orders. Raises ReadFailed."""
        async with self._read(spec) as client:
            return (await client.open_books(await client.snapshot())).open_orders()

    async def fills_since(self, spec: ConnectionSpec, since: datetime) -> list[OrderReport]:
        """Read all executions since a time. Raises ReadFailed."""
        async with self._read_in_turn(spec) as client:
            return await reads.fills_since(client, since)

    async def quote(self, spec: ConnectionSpec, symbol: str) -> Quote:
        """Return a symbol's last price, with the time of its last change (`QuoteAges`)."""
        async with self._read(spec) as client:
            return await prices.quote(client, symbol)

    async def stream_quotes(
        self, spec: ConnectionSpec, symbols: Sequence[str]
    ) -> AsyncIterator[Quote]:
        """Yield prices within `prices.POLL_SECONDS` after the expert advisor has written them."""
        async with self._read(spec) as client:
            async for quote in prices.stream(client, symbols):
                yield quote

    async def what_if(self, spec: ConnectionSpec, request: OrderRequest) -> WhatIf:
        """Raise ReadFailed NOT_SUPPORTED."""
        raise ReadFailed(Code.NOT_SUPPORTED, "the expert advisor does not compute an order's cost")

    # ---- events ---------------------------------------------------------------------------
    def stream_events(self) -> AsyncIterator[None]:
        """Yield when `events` has something new of the terminals that this process has locked."""
        return self._watch.notifications()

    async def events(self, limit: int, after: str = "") -> list[OrderReport]:
        """Return the oldest reports that were not acknowledged yet."""
        return self._watch.event_buffer.read(limit, after)

    async def acknowledge(self, event_ids: Sequence[str]) -> None:
        """Drop reports that are stored."""
        self._watch.event_buffer.acknowledge(event_ids)

    async def disconnect(self, spec: ConnectionSpec | None = None) -> None:
        """Release one connection's folder, or all folders; the next call locks it again."""
        await self._watch.drop(spec.connection_id if spec else None)
        if spec is None:
            folders = list(self._terminals)
        else:
            folders = [one for one in [self._folders.get(spec.connection_id)] if one]
        for folder in folders:
            await asyncio.to_thread(self._terminals[folder].release)

    # ---- which terminal -------------------------------------------------------------------
    @asynccontextmanager
    async def _turn(self, spec: ConnectionSpec, send_by: float | None) -> AsyncIterator[DwxClient]:
        """Hold the terminal for one command. A failure before it begins is NotSent."""
        try:
            client = await self._client(spec)
            turn = client.terminal.turn(send_by)
            await turn.__aenter__()
        except TerminalUnavailableError as error:
            raise NotSent(error.code, error.detail) from error
        self._watch.add(client)
        try:
            yield client
        finally:
            await turn.__aexit__(None, None, None)

    @asynccontextmanager
    async def _read_in_turn(self, spec: ConnectionSpec) -> AsyncIterator[DwxClient]:
        """Hold the terminal for a read that needs a command. Raises ReadFailed."""
        async with self._read(spec) as client, client.terminal.turn():
            self._watch.add(client)
            yield client

    @asynccontextmanager
    async def _read(self, spec: ConnectionSpec) -> AsyncIterator[DwxClient]:
        try:
            yield await self._client(spec)
        except TerminalUnavailableError as error:
            raise ReadFailed(error.code, error.detail) from error
        except HistoryNeededError as error:
            raise ReadFailed(Code.NOT_CONNECTED, str(error)) from error

    def _opened(self, spec: ConnectionSpec) -> Path:
        """Return the folder after checking its key. Accesses the disk.

        Raises TerminalUnavailableError."""
        folder = folder_of(self._root, spec.settings.get("folder"))
        check_key(folder, spec.credentials.get("password", ""))
        return folder

    async def _client(self, spec: ConnectionSpec) -> DwxClient:
        """Return the connection's client. Raises TerminalUnavailableError."""
        folder = await asyncio.to_thread(self._opened, spec)
        with self._lock:
            if (terminal := self._terminals.get(folder)) is None:
                terminal = Terminal(folder, self._platform, self._record_cache)
                self._terminals[folder] = terminal
            self._folders[spec.connection_id] = folder
        terminal.timeouts = Timeouts.of(spec.settings)
        try:
            zone = Zone(str(spec.settings.get("server_zone") or NEW_YORK_CLOSE))
        except ValueError as error:
            raise TerminalUnavailableError(Code.NOT_CONNECTED, str(error)) from error
        watch = self._watch
        return DwxClient(
            spec, terminal, zone, watch.report_books, watch.record_open, watch.set_levels
        )
