"""The paper broker's adapter when the broker is another process: the same three outcomes.

Before the write nothing has left: NotSent. After it only the broker's word counts; a broken line, a
time-out or nonsense is OutcomeUnknown. The broker accepts what arrives, whenever that is.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import orjson

from brokers.base import (
    AccountState,
    BrokerError,
    BrokerOrder,
    BrokerPosition,
    CancelRequest,
    Capabilities,
    Check,
    CheckResult,
    ConnectionSpec,
    Guard,
    Instrument,
    ModifyRequest,
    NotSent,
    OrderReport,
    OrderRequest,
    OutcomeUnknown,
    ReadFailed,
    check_deadline,
)
from brokers.journal import Journal
from brokers.paper.form import malformed
from brokers.paper.remote.link import Link, Reach
from brokers.paper.remote.words import (
    CALLS,
    PAIR,
    SUBMIT,
    Outcome,
    ask,
    fragment,
    read_error,
    read_outcome,
)
from common.codes import Code

IN_A_FRAME = 100  # orders
REPLY_TIMEOUT = 10.0  # seconds that a missing answer is waited for
READ_TIMEOUT, JOURNAL_TIMEOUT = 20.0, 120.0  # the books may hold a million orders
Tell = Callable[[OrderRequest, Outcome], None]
Written = tuple[ConnectionSpec, OrderRequest, orjson.Fragment]


class RemotePaper:
    """All paper accounts of one process, at a broker that listens on host:port."""

    kind = "paper"

    def __init__(
        self, host: str, port: int, capabilities: Callable[[ConnectionSpec], Capabilities]
    ) -> None:
        self._host, self._port = host, port
        self._capabilities = capabilities
        self._reaches: WeakKeyDictionary[asyncio.AbstractEventLoop, Reach] = WeakKeyDictionary()

    def capabilities(self, spec: ConnectionSpec) -> Capabilities:
        """What the account can do, by what its connection's settings say of it."""
        return self._capabilities(spec)

    def instrument_book(self, spec: ConnectionSpec) -> str:
        return "paper"

    # ---- orders ---------------------------------------------------------------------------
    async def submit(
        self, spec: ConnectionSpec, request: OrderRequest, guard: Guard
    ) -> list[OrderReport]:
        """Place one order. Raises NotSent, Rejected or OutcomeUnknown."""
        told: list[Outcome] = []
        await self.submit_many([(spec, request)], guard, lambda _, outcome: told.append(outcome))
        if isinstance(told[0], BrokerError):
            raise told[0]
        return told[0]

    async def submit_many(
        self, requests: Sequence[tuple[ConnectionSpec, OrderRequest]], guard: Guard, tell: Tell
    ) -> None:
        """Place many at once, 100 in a frame. Ends when each order has been told."""
        try:
            link = await self._reach().link()
        except OSError as error:
            for _, request in requests:
                tell(request, NotSent(Code.NOT_CONNECTED, str(error)))
            return
        written = [(spec, request, fragment(PAIR, (spec, request))) for spec, request in requests]
        parts = [written[at : at + IN_A_FRAME] for at in range(0, len(written), IN_A_FRAME)]
        left = [_leave(link, part, guard, tell) for part in parts]  # nothing is awaited in between
        batches = [batch for batch in left if batch]
        try:
            for batch in batches:
                await batch.done
        finally:
            for batch in batches:
                batch.end()

    async def cancel(self, spec: ConnectionSpec, request: CancelRequest) -> list[OrderReport]:
        """Cancel an order. CANCEL_REFUSED, with what it did instead, when a fill was first."""
        told: list[OrderReport] = await self._wish("cancel", spec, request)
        return told

    async def modify(self, spec: ConnectionSpec, request: ModifyRequest) -> list[OrderReport]:
        """Set both levels of a position (or of a waiting entry); None takes one away."""
        told: list[OrderReport] = await self._wish("modify", spec, request)
        return told

    # ---- reads ----------------------------------------------------------------------------
    async def test(self, spec: ConnectionSpec) -> list[Check]:
        """Check reach, password, permission, mode and prices, one line for each."""
        try:
            found: list[Check] = await self._read("test", spec)
        except ReadFailed as error:
            hint = "Start `manage.py paper_broker`, or correct FILLCAST_PAPER_BROKER."
            return [Check("reach", CheckResult.FAIL, error.detail, hint)]
        return found

    async def account(self, spec: ConnectionSpec) -> AccountState:
        state: AccountState = await self._read("account", spec)
        return state

    async def instruments(self, spec: ConnectionSpec) -> list[Instrument]:
        found: list[Instrument] = await self._read("instruments", spec)
        return found

    async def find_order(
        self, spec: ConnectionSpec, client_order_id: str
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
        told: list[OrderReport] = await self._read("fills_since", spec, since)
        return told

    async def journal(self, tag: str) -> Journal:
        """Show the books, for the audit. Raises ReadFailed."""
        books: Journal = await self._read("journal", tag, patience=JOURNAL_TIMEOUT)
        return books

    async def events(self, limit: int) -> list[OrderReport]:
        told: list[OrderReport] = await self._read("events", limit)
        return told

    async def acknowledge(self, event_ids: Sequence[str]) -> None:
        await self._read("acknowledge", list(event_ids))

    async def clock(self) -> datetime | None:
        shown: datetime | None = await self._read("clock")
        return shown

    async def disconnect(self) -> None:
        """Close this loop's connection; the next call opens one again."""
        self._reach().close()

    # ---- the line -------------------------------------------------------------------------
    def _reach(self) -> Reach:
        loop = asyncio.get_running_loop()
        if loop not in self._reaches:
            self._reaches[loop] = Reach(self._host, self._port)
        return self._reaches[loop]

    async def _read(self, name: str, *arguments: Any, patience: float = READ_TIMEOUT) -> Any:
        """Ask something that changes nothing. Raises ReadFailed."""
        try:
            answer = Answer(name, *arguments)
            return await answer.fetch(await self._reach().link(), patience)
        except (OSError, OutcomeUnknown) as error:
            raise ReadFailed(Code.BROKER_UNREACHABLE, str(error)) from error

    async def _wish(
        self, name: str, spec: ConnectionSpec, request: CancelRequest | ModifyRequest
    ) -> Any:
        """Ask for a change. Raises NotSent, Rejected or OutcomeUnknown."""
        answer = Answer(name, spec, replace(request, send_by=None))  # the deadline is our clock's
        try:
            link = await self._reach().link()
            return await answer.fetch(link, _patience(spec), partial(check_deadline, request))
        except OSError as error:
            raise NotSent(Code.NOT_CONNECTED, str(error)) from error


def _patience(spec: ConnectionSpec) -> float:
    return float(spec.settings.get("reply_timeout", REPLY_TIMEOUT))


class Answer:
    """One call and its one answer."""

    def __init__(self, name: str, *arguments: Any) -> None:
        self._name, self._arguments = name, ask(name, arguments)
        self._told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def fetch(
        self, link: Link, patience: float, guard: Callable[[], None] = lambda: None
    ) -> Any:
        """Send it and wait. guard: asked when the frame is ready, with only the write behind it.

        Raises what the guard does, OSError if it never left, OutcomeUnknown, or what was told.
        """
        number, frame = link.make_ready({"do": self._name, "args": self._arguments})
        guard()
        link.write(number, frame, self)
        try:
            return await asyncio.wait_for(self._told, patience)
        except TimeoutError as error:
            raise OutcomeUnknown(Code.REPLY_LOST, "no answer") from error
        finally:
            link.forget(number)

    def hear(self, message: Mapping[str, Any]) -> None:
        if self._told.done():
            return
        if "error" in message:
            self._told.set_exception(read_error(message))
        else:
            self._told.set_result(CALLS[self._name].tells.validate_python(message["told"]))

    def lose(self, why: str) -> None:
        if not self._told.done():
            self._told.set_exception(OutcomeUnknown(Code.REPLY_LOST, why))


class Batch:
    """Orders that left in one frame, and whom to tell how each of them ended, once."""

    def __init__(self, orders: Sequence[tuple[ConnectionSpec, OrderRequest]], tell: Tell) -> None:
        loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = loop.create_future()
        self._open = {index: request for index, (_, request) in enumerate(orders)}
        self._tell = tell
        self._forget: Callable[[], None] = lambda: None
        patience: dict[float, list[int]] = {}
        for index, (spec, _) in enumerate(orders):
            patience.setdefault(_patience(spec), []).append(index)
        self._timers = [
            loop.call_later(seconds, self._give_up, indexes, "no answer")
            for seconds, indexes in patience.items()
        ]

    def left_by(self, link: Link, number: int) -> None:
        """Remember where the answers come from."""
        self._forget = lambda: link.forget(number)

    def hear(self, message: Mapping[str, Any]) -> None:
        for index, words in message["outcomes"]:
            if index in self._open:
                outcome = read_outcome(words)
                self._say(index, outcome)

    def lose(self, why: str) -> None:
        self._give_up(list(self._open), why)

    def end(self) -> None:
        """Nobody listens any more."""
        self._open.clear()
        self._forget()
        for timer in self._timers:
            timer.cancel()

    def _give_up(self, indexes: Sequence[int], why: str) -> None:
        for index in indexes:
            if index in self._open:
                self._say(index, OutcomeUnknown(Code.REPLY_LOST, why))

    def _say(self, index: int, outcome: Outcome) -> None:
        self._tell(self._open.pop(index), outcome)
        if not self._open and not self.done.done():
            self.done.set_result(None)


def _leave(link: Link, written: Sequence[Written], guard: Guard, tell: Tell) -> Batch | None:
    """Write those orders of a frame that may leave. None: none did.

    The guard is asked about each when the frame is ready, and nothing but the write comes after
    it. Where it refuses one, the others are made ready and asked about anew: a process that stood
    still at one of them has let the earlier ones through long ago.
    """
    leaving = _ask_about(written, _well_formed, tell)
    while leaving:
        batch = Batch([(spec, request) for spec, request, _ in leaving], tell)
        message = {"do": SUBMIT, "args": [words for *_, words in leaving]}
        number, frame = link.make_ready(message)
        let_through = _ask_about(leaving, guard, tell)
        if len(let_through) < len(leaving):
            batch.end()
            leaving = let_through
            continue
        try:
            link.write(number, frame, batch)
        except OSError as error:
            batch.end()
            for _, request, _ in leaving:
                tell(request, NotSent(Code.NOT_CONNECTED, str(error)))
            return None
        batch.left_by(link, number)
        return batch
    return None


def _ask_about(written: Sequence[Written], guard: Guard, tell: Tell) -> list[Written]:
    """Return the orders that are let through; the others are told why they are not."""
    let_through = []
    for order in written:
        try:
            guard(order[1])
        except BrokerError as error:
            tell(order[1], error)
        else:
            let_through.append(order)
    return let_through


def _well_formed(request: OrderRequest) -> None:
    if wrong := malformed(request):
        raise wrong
