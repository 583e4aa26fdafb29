"""The fake TWS's socket: it accepts sessions and injects faults."""

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
    """Listens and serves a venue. `restart` resets all connections, as the daily restart does."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.sessions: list[ClientSession] = []
        self.faults: deque[Fault] = deque()
        self.last_partial_answer = ""  # what was sent of a truncated answer, fields divided by "|"
        self.commissions = True  # reported with executions
        self.read_only = False
        self.zone = "UTC"  # time zone of its greeting
        self.omits_list_ends = False  # lists are not terminated
        self.fills_before_cancel = False  # the order is filled before the next cancel
        self.order_fault: Fault | None = None  # for each order
        self.unreported: set[str] = set()  # references that no list contains yet
        self.muted: set[int] = set()  # message kinds that are not answered
        self.connects: list[float] = []
        self.order_messages: deque[Sequence[str]] = deque(maxlen=1000)  # fields of received orders
        self.rule_requests: list[int] = []  # market rules that were asked for
        self.list_requests: list[str] = []  # "open", "completed" or "executions"
        self.writes: list[float] = []  # when messages arrived, for rate limits
        self.listening = asyncio.Event()  # cleared: nothing is read
        self.listening.set()
        self.port = 0
        self._listener: asyncio.Server | None = None
        self.refused_prices: dict[int, tuple[int, str]] = {}  # conId → error of a subscription
        venue.report_order, venue.report_execution = self._report_order, self._report_execution
        venue.report_price = self._report_price

    async def open(self, port: int = 0) -> None:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._listener.sockets[0].getsockname()[1]

    def local_time(self) -> datetime:
        """Return the time in the zone of its login."""
        return datetime.now(ZoneInfo(self.zone))

    @property
    def is_open(self) -> bool:
        return self._listener is not None

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for session in list(self.sessions):
            session.cut()

    async def restart(self) -> None:
        """Go down and come up again on the same port."""
        port = self.port
        await self.close()
        await self.open(port)

    def send(self, message: bytes) -> None:
        """Send a message to every session."""
        for session in self.sessions:
            session.send(message)

    def announce(self, number: int, text: str = "") -> None:
        """Send an error that is about no request (1100, 1102…)."""
        self.send(messages.error(-1, number, text))

    def replay(self) -> None:
        """Report all executions again."""
        for execution in self.venue.executions:
            self._report_execution(execution)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeting = await reader.read(4)
        if greeting == GREETING:
            with suppress(ConnectionError, asyncio.CancelledError):
                await Control(self).serve(reader, writer)
            writer.close()
            return
        session = ClientSession(self, reader, writer)
        self.connects.append(time.monotonic())
        try:
            await session.serve()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, IndexError):
            pass
        finally:
            if session in self.sessions:
                self.sessions.remove(session)
            session.cut()

    def _report_order(self, order: Order, what: str) -> None:
        for session in self.sessions:
            if session.client_id == order.client_id:
                session.report_order(order, what)

    def _report_price(self, con_id: int) -> None:
        for session in self.sessions:
            session.report_price(con_id)

    def _report_execution(self, execution: Execution) -> None:
        for session in self.sessions:
            if session.client_id == execution.order.client_id and not session.silent:
                self.report_execution_to(session, execution)

    def report_execution_to(self, session: ClientSession, execution: Execution) -> None:
        """Report an execution and its commission."""
        session.send(
            messages.executed(-1, self.venue.securities[execution.order.con_id], execution)
        )
        if self.commissions:
            session.send(messages.commission(execution))
