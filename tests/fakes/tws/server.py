"""The double's socket: sessions in, answers out, faults on demand."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from zoneinfo import ZoneInfo

from tests.fakes.tws import messages
from tests.fakes.tws.client_session import ClientSession
from tests.fakes.tws.control import GREETING, Control
from tests.fakes.tws.faults import Fault
from tests.fakes.tws.venue import Execution, Order, Venue


class FakeTws:
    """Listens and serves a venue. `restart` cuts all lines, as the daily restart does."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.sessions: list[ClientSession] = []
        self.faults: deque[Fault] = deque()
        self.last_half = ""  # of an answer: what of it left, its fields divided by "|"
        self.commissions = True  # told with the executions
        self.read_only = False
        self.zone = "UTC"  # of its greeting
        self.answers_in_part = False  # lists have no end
        self.is_overtaken = False  # the next cancel comes after a fill
        self.refuses: Fault | None = None  # each order
        self.unreported: set[str] = set()  # references that stand in no list yet
        self.muted: set[int] = set()  # message kinds that are not answered
        self.connects: list[float] = []
        self.said: deque[Sequence[str]] = deque(maxlen=1000)  # orders, field by field as they came
        self.delays: deque[float] = deque(maxlen=100_000)  # what each order has cost the double
        self.writes: list[float] = []  # when messages came, for the budget
        self.listening = asyncio.Event()  # cleared: nothing is read any more
        self.listening.set()
        self.port = 0
        self._door: asyncio.Server | None = None
        self.refused_prices: dict[int, tuple[int, str]] = {}  # conId → error of who asks for it
        venue.tell, venue.report_execution = self._tell, self._report_execution
        venue.report_price = self._report_price

    async def open(self, port: int = 0) -> None:
        self._door = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._door.sockets[0].getsockname()[1]

    def local_time(self) -> datetime:
        """The time where it was logged in."""
        return datetime.now(ZoneInfo(self.zone))

    @property
    def is_open(self) -> bool:
        return self._door is not None

    async def close(self) -> None:
        if self._door is not None:
            self._door.close()
            self._door = None
        for visitor in list(self.sessions):
            visitor.cut()

    async def restart(self) -> None:
        """Go down and come up again on the same port."""
        port = self.port
        await self.close()
        await self.open(port)

    def say(self, message: bytes) -> None:
        """Say something to every session."""
        for visitor in self.sessions:
            visitor.say(message)

    def announce(self, number: int, text: str = "") -> None:
        """Say an error that is about no request (1100, 1102…)."""
        self.say(messages.error(-1, number, text))

    def replay(self) -> None:
        """Tell all executions once more."""
        for execution in self.venue.executions:
            self._report_execution(execution)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeting = await reader.read(4)
        if greeting == GREETING:
            with suppress(ConnectionError, asyncio.CancelledError):
                await Control(self).serve(reader, writer)
            writer.close()
            return
        visitor = ClientSession(self, reader, writer)
        self.connects.append(time.monotonic())
        try:
            await visitor.serve()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, IndexError):
            pass
        finally:
            if visitor in self.sessions:
                self.sessions.remove(visitor)
            visitor.cut()

    def _tell(self, order: Order, what: str) -> None:
        for visitor in self.sessions:
            if visitor.client_id == order.client_id:
                visitor.report_order(order, what)

    def _report_price(self, con_id: int) -> None:
        for visitor in self.sessions:
            visitor.report_price(con_id)

    def _report_execution(self, execution: Execution) -> None:
        for visitor in self.sessions:
            if visitor.client_id == execution.order.client_id and not visitor.silent:
                self.report_execution_to(visitor, execution)

    def report_execution_to(self, visitor: ClientSession, execution: Execution) -> None:
        """Tell an execution, and what it cost."""
        visitor.say(messages.executed(-1, self.venue.securities[execution.order.con_id], execution))
        if self.commissions:
            visitor.say(messages.commission(execution))
