"""The MetaTrader 5 adapter: one terminal for the whole process, its calls one after another.

It runs where the terminal runs, on Windows or Wine, in a worker of its own (docs/metatrader5.md).
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cache
from time import monotonic
from typing import TypeVar

from brokers.base import (
    BrokerError,
    Guard,
    NotSent,
    OutcomeUnknown,
    ReadFailed,
    Tell,
)
from brokers.messages import (
    AccountState,
    BrokerOrder,
    BrokerPosition,
    CancelRequest,
    Capabilities,
    Check,
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
from brokers.mt5 import checks, lookup, parse
from brokers.mt5.lane import Job, Lane, NoAnswer, Stage, Turn
from brokers.mt5.library import Library
from brokers.mt5.lots import Lots, is_tradable
from brokers.mt5.session import Away, Place, Terminal, server_of
from brokers.mt5.trading import Desk, is_exit
from common.clocks import machine_time, market_now
from common.codes import Code

T = TypeVar("T")
SAID_AS_IT_IS = frozenset({
    Code.CREDENTIALS_REFUSED, Code.UNKNOWN_ACCOUNT, Code.TRADING_DISABLED, Code.LIBRARY_MISSING,
    Code.UNEXPECTED,
})  # fmt: skip
READ_SECONDS, REPLY_SECONDS = 20.0, 30.0
LEAST_SECONDS = 5.0  # that a call has which came to its turn late: a healthy process is not ended


def create() -> "Mt5Adapter":
    """Return this process's adapter. Calls fail where there is no package or no terminal.

    FILLCAST_MT5_TERMINAL: path of this worker's terminal64.exe; FILLCAST_MT5_PORTABLE: it keeps
    its data beside itself; FILLCAST_MT5_NAME: the name that connections call it by (`terminal`).
    All are the operator's: no account names a path.
    """
    place = Place(
        path=os.environ.get("FILLCAST_MT5_TERMINAL", ""),
        portable=os.environ.get("FILLCAST_MT5_PORTABLE", "").lower() in ("yes", "true", "1"),
        name=os.environ.get("FILLCAST_MT5_NAME", ""),
    )
    return Mt5Adapter(place)


@cache
def _capabilities(mode: PositionMode, native_stops: bool) -> Capabilities:
    """Exits of a hedging account name their position's ticket, and the server refuses more than it
    holds (10036, 10038): TICKET. On a netting account any order the other way reduces, and beyond
    what is held it reverses; nothing in the API forbids it: CANCEL_FIRST. There stop and target
    belong to the whole position, so that one signal's would close another's: we watch them, unless
    the owner says `native_stops`."""
    hedging = mode is PositionMode.HEDGING
    return Capabilities(
        order_types=frozenset(OrderType),
        times_in_force=frozenset(TimeInForce),
        native_stops=native_stops,
        modify=True,
        position_modes=frozenset([mode]),
        partial_close=True,
        event_stream=False,  # the package calls nobody back
        price_stream=False,
        lookup_horizon=lookup.HORIZON,
        refuses_repeated_ids=False,
        exit_safety=ExitSafety.TICKET if hedging else ExitSafety.CANCEL_FIRST,
        session=True,
        needs_credentials=True,
        submit_many=True,
        fills_horizon=lookup.HORIZON,
    )


class Mt5Adapter:
    """All MetaTrader 5 accounts of one worker.

    A connection's settings may say `terminal`, `server`, `server_timezone` (else it is measured),
    `position_mode` (else as seen, HEDGING before that), `native_stops`, `symbols` (the broker's
    name -> pair), `clock_symbol`, `settle_seconds`, `reply_timeout`; credentials: `password` and,
    if the settings don't, `server`.
    """

    kind = "mt5"

    def __init__(self, place: Place) -> None:
        self._library = Library()
        self._terminal = Terminal(self._library, place)
        self._lane = Lane()

    def capabilities(self, spec: ConnectionSpec) -> Capabilities:
        mode = self._mode(spec)
        said = spec.settings.get("native_stops")
        default = mode is PositionMode.HEDGING
        return _capabilities(mode, bool(said) if said is not None else default)

    def instrument_book(self, spec: ConnectionSpec) -> str:
        """Each account has its own: groups of one server differ in names and contract sizes."""
        return f"mt5:{server_of(spec).lower()}:{spec.account}"

    def _mode(self, spec: ConnectionSpec) -> PositionMode:
        said = spec.settings.get("position_mode")
        believed = PositionMode(said) if said in set(PositionMode) else PositionMode.HEDGING
        return self._terminal.modes.get(spec.connection_id, believed)

    # ---- orders ---------------------------------------------------------------------------
    async def submit(
        self, spec: ConnectionSpec, request: OrderRequest, guard: Guard
    ) -> list[OrderReport]:
        """Place one order. Raises NotSent, Rejected or OutcomeUnknown."""
        mode, turn = self._mode(spec), Turn.EXIT if is_exit(request) else Turn.ENTRY
        return await self._order(
            spec, lambda desk: desk.submit(request, guard, mode), turn, request.send_by or None
        )

    async def submit_many(
        self, requests: Sequence[tuple[ConnectionSpec, OrderRequest]], guard: Guard, tell: Tell
    ) -> None:
        """One after another, exits first: a terminal takes no more. What the server says after the
        caller's patience is still told."""

        async def one(spec: ConnectionSpec, request: OrderRequest) -> None:
            try:
                tell(request, await self.submit(spec, request, guard))
            except BrokerError as error:
                tell(request, error)

        await asyncio.gather(*(one(spec, request) for spec, request in requests))

    async def cancel(self, spec: ConnectionSpec, request: CancelRequest) -> list[OrderReport]:
        """Cancel an order. CANCEL_REFUSED, with what it did instead, when a fill was first."""
        return await self._order(
            spec, lambda desk: desk.cancel(request), Turn.EXIT, request.send_by
        )

    async def modify(self, spec: ConnectionSpec, request: ModifyRequest) -> list[OrderReport]:
        """Set both levels of a position (or of a waiting entry); None takes one away."""
        return await self._order(
            spec, lambda desk: desk.modify(request), Turn.EXIT, request.send_by
        )

    async def _order(
        self,
        spec: ConnectionSpec,
        work: Callable[[Desk], list[OrderReport]],
        turn: Turn,
        send_by: float | None,
    ) -> list[OrderReport]:
        def do(job: Job) -> list[OrderReport]:
            try:
                return work(Desk(self._terminal, spec, job))
            except (Away, ReadFailed) as error:
                raise _unsent(job, error.code, error.detail) from error
            except BrokerError:
                raise
            except Exception as error:
                raise _unsent(job, Code.UNEXPECTED, f"{type(error).__name__}: {error}") from error

        try:
            return await self._run(do, _patience(spec), turn, send_by)
        except NoAnswer as error:
            if error.stage is Stage.SENT:
                raise OutcomeUnknown(Code.REPLY_LOST, error.detail) from error
            late = send_by is not None and machine_time() >= send_by
            code = Code.SEND_DEADLINE if late else Code.NOT_CONNECTED
            raise NotSent(code, error.detail) from error

    async def _run(
        self,
        work: Callable[[Job], T],
        seconds: float,
        turn: Turn = Turn.READ,
        send_by: float | None = None,
    ) -> T:
        """On the terminal's thread; a call of the package that hangs is ended there."""

        def do(job: Job) -> T:
            self._library.until = max(job.until, monotonic() + LEAST_SECONDS)
            return work(job)

        return await self._lane.run(do, seconds=seconds, turn=turn, send_by=send_by)

    # ---- reads ----------------------------------------------------------------------------
    async def test(self, spec: ConnectionSpec) -> list[Check]:
        """Check terminal, login, permissions, mode, symbols, clock and line, one line for each."""
        try:
            return await self._run(lambda _: checks.run(self._terminal, spec), 2 * READ_SECONDS)
        except NoAnswer as error:
            return [checks.hangs(error.detail)]

    async def account(self, spec: ConnectionSpec) -> AccountState:
        return await self._read(spec, self._account)

    async def instruments(self, spec: ConnectionSpec) -> list[Instrument]:
        return await self._read(spec, self._instruments)

    async def find_order(
        self, spec: ConnectionSpec, client_order_id: str, symbol: str = ""
    ) -> list[OrderReport] | None:
        return await self._read(spec, lambda one: lookup.find(self._terminal, one, client_order_id))

    async def positions(self, spec: ConnectionSpec) -> list[BrokerPosition]:
        return await self._read(spec, self._positions)

    async def open_orders(self, spec: ConnectionSpec) -> list[BrokerOrder]:
        return await self._read(spec, self._open_orders)

    async def fills_since(self, spec: ConnectionSpec, since: datetime) -> list[OrderReport]:
        return await self._read(spec, lambda one: lookup.fills_since(self._terminal, one, since))

    async def events(self, limit: int, after: str = "") -> list[OrderReport]:
        """Nothing: this broker tells nothing by itself and is polled."""
        return []

    async def acknowledge(self, event_ids: Sequence[str]) -> None:
        return None

    async def clock(self) -> datetime | None:
        """None: a terminal tells the time of ticks only; the connection test compares those."""
        return None

    async def disconnect(self) -> None:
        """Leave the terminal; the next call finds it again."""
        try:
            await self._run(lambda _: self._leave(), READ_SECONDS)
        except NoAnswer:
            return  # it hangs: there is nobody to take leave of

    def _leave(self) -> None:
        if self._library.is_running:
            with suppress(ReadFailed):
                self._terminal.close()
            self._library.close()

    def _account(self, spec: ConnectionSpec) -> AccountState:
        info, shown = self._terminal.enter(spec), self._terminal.mt.terminal_info()
        self._terminal.look_at_clock(spec, info)
        allowed = info.trade_allowed and info.trade_expert and shown and shown.trade_allowed
        return parse.account(info, spec.account, market_now(), trading_allowed=bool(allowed))

    def _instruments(self, spec: ConnectionSpec) -> list[Instrument]:
        self._terminal.enter(spec)
        mt, said = self._terminal.mt, spec.settings.get("symbols") or {}
        listed = self._terminal.rows(mt.symbols_get, count=mt.symbols_total)
        return [Lots(one).instrument(said.get(one.name, "")) for one in listed if is_tradable(one)]

    def _positions(self, spec: ConnectionSpec) -> list[BrokerPosition]:
        read = lookup.reader(self._terminal, spec, self._terminal.enter(spec))
        return [parse.position(read, row) for row in self._terminal.positions()]

    def _open_orders(self, spec: ConnectionSpec) -> list[BrokerOrder]:
        read = lookup.reader(self._terminal, spec, self._terminal.enter(spec))
        found = (parse.resting(read, row) for row in self._terminal.orders())
        return [order for order in found if order is not None]

    async def _read(self, spec: ConnectionSpec, work: Callable[[ConnectionSpec], T]) -> T:
        """Ask something that changes nothing. Raises ReadFailed."""

        def do(_: Job) -> T:
            found = work(spec)
            self._terminal.still(spec)
            return found

        try:
            return await self._run(do, READ_SECONDS)
        except ReadFailed:
            raise
        except BrokerError as error:
            raise ReadFailed(error.code, error.detail) from error
        except NoAnswer as error:
            raise ReadFailed(Code.BROKER_UNREACHABLE, error.detail) from error
        except Exception as error:  # an answer that cannot be read
            raise ReadFailed(Code.UNEXPECTED, type(error).__name__) from error


def _unsent(job: Job, code: Code, detail: str) -> BrokerError:
    """What an error means for an order: before the send nothing has left, after it nobody knows."""
    if job.stage is Stage.SENT:
        return OutcomeUnknown(Code.REPLY_LOST if code is Code.BROKER_UNREACHABLE else code, detail)
    return NotSent(code if code in SAID_AS_IT_IS else Code.NOT_CONNECTED, detail)


def _patience(spec: ConnectionSpec) -> float:
    said = spec.settings.get("reply_timeout")
    return float(said) if isinstance(said, int | float) else REPLY_SECONDS
