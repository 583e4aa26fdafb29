"""The paper broker's own process: connections in, calls to its books, answers out."""

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import psycopg
from django.db import Error as DatabaseError
from django.db import connection

from brokers.base import BrokerError, Outcome, OutcomeUnknown, ReadFailed
from brokers.paper.adapter import PaperAdapter
from brokers.paper.network_simulator import WorkerThreads
from brokers.types import OrderRequest
from common.reason_codes import Code
from tests.fakes.paper_server.connection import reset_connection
from tests.fakes.paper_server.faults import Faults
from tests.fakes.paper_server.framing import BadFrameError, Unpacker, pack, unpack
from tests.fakes.paper_server.notifications import NotificationHub
from tests.fakes.paper_server.operations import OPERATIONS
from tests.fakes.paper_server.protocol import (
    CALLS,
    LISTEN,
    PAIRS,
    SUBMIT,
    UNLISTEN,
    VERSION,
    encode_error,
    encode_outcome,
    fragment,
)

log = logging.getLogger(__name__)
SIGN_OF_LIFE_SECONDS = 1.0
MAX_UNREAD = 256 * 2**20  # bytes; who reads nothing any more is let go


class Server:
    """Serves the books of this process's database until `close`."""

    def __init__(self, *, faults: bool = False) -> None:
        """faults: whether callers may ask for trouble (see `faults.py`); for tests only."""
        self.adapter, self.desks = PaperAdapter(), WorkerThreads()
        self.notifications = NotificationHub(self.adapter.stream_events)
        self.visitors: set[ClientConnection] = set()
        self.faults = Faults(self) if faults else None
        self._host, self._port = "", 0
        self._door: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._port

    async def open(self, host: str, port: int) -> None:
        """Listen; port 0 is any. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._door = await loop.create_server(lambda: ClientConnection(self), host, port)
        self._host, self._port = host, self._door.sockets[0].getsockname()[1]
        self.spawn(self._show_life())

    async def shut(self, seconds: float) -> None:
        """Refuse new connections for a while."""
        if self._door is None:
            return
        door, self._door = self._door, None
        door.close()
        await asyncio.sleep(seconds)
        loop = asyncio.get_running_loop()
        self._door = await loop.create_server(
            lambda: ClientConnection(self), self._host, self._port
        )

    async def close(self, patience: float = 3.0) -> None:
        """Let nobody in, finish what was begun, say goodbye."""
        if self._door is not None:
            self._door.close()
        under_way = [visitor.work for visitor in self.visitors]
        pending = [task for tasks in under_way for task in tasks]
        if pending:
            await asyncio.wait(pending, timeout=patience)
        for visitor in list(self.visitors):
            visitor.leave()
        self.notifications.close()
        for task in list(self._tasks):
            task.cancel()
        await self.adapter.disconnect()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine beside the calls."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _show_life(self) -> None:
        while True:
            await asyncio.sleep(SIGN_OF_LIFE_SECONDS)
            for visitor in list(self.visitors):
                visitor.send({})

    # ---- calls ----------------------------------------------------------------------------
    async def serve(self, message: Mapping[str, Any], respond: "Responder") -> None:
        """Answer one call; what is lost on the way back is never answered."""
        name = message.get("do", "")
        try:
            if name == SUBMIT:
                await self._submit_many(message["args"], respond)
            elif name == LISTEN:
                self.notifications.listen(respond.visitor, respond)
            elif name == UNLISTEN:
                self.notifications.unlisten(respond.visitor, int(message["args"][0]))
            elif name == "fault":
                await self._fault(message["args"], respond)
            else:
                respond(await self._call(name, message["args"]))
        except OutcomeUnknown:
            pass
        except BrokerError as error:
            respond(encode_error(error))
        except (psycopg.Error, DatabaseError) as error:
            log.warning("paper: the books failed: %s", type(error).__name__)
            respond(encode_error(ReadFailed(Code.BROKER_UNREACHABLE, type(error).__name__)))
        except (ValueError, KeyError, TypeError) as error:  # its text may hold a password
            log.warning("paper: not understood: %s %s", name, type(error).__name__)
            respond(encode_error(ReadFailed(Code.FIELD_INVALID, f"{name}: not understood")))
        except Exception as error:
            log.exception("paper: %s failed", name)
            respond(encode_error(ReadFailed(Code.UNEXPECTED, type(error).__name__)))

    async def _submit_many(self, args: Any, respond: "Responder") -> None:
        """Take orders, whenever they arrive. Outcomes of one moment are told in one frame."""
        pairs = PAIRS.validate_python(args)
        index_of = {id(request): index for index, (_, request) in enumerate(pairs)}
        outcomes: list[tuple[int, dict[str, Any]]] = []
        loop = asyncio.get_running_loop()

        def on_outcome(request: OrderRequest, outcome: Outcome) -> None:
            if isinstance(outcome, OutcomeUnknown):
                return
            if not outcomes:
                loop.call_soon(flush)
            outcomes.append((index_of[id(request)], encode_outcome(outcome)))

        def flush() -> None:
            respond({"outcomes": list(outcomes)})
            outcomes.clear()

        await self.adapter.submit_many(pairs, _accept_any, on_outcome)

    async def _call(self, name: str, args: Any) -> dict[str, Any]:
        call = CALLS[name]
        arguments = call.argument_types.validate_python(args)
        if call.of_exchange:
            result = await self.desks.run(_call_exchange, name, arguments)
        else:
            result = await getattr(self.adapter, name)(*arguments)
        return {"told": fragment(call.result_type, result)}

    async def _fault(self, args: Any, respond: "Responder") -> None:
        if self.faults is None:
            raise ReadFailed(Code.FIELD_INVALID, "started without --faults")
        await self.faults.make(*args)
        respond({"told": None})


def _accept_any(_request: OrderRequest) -> None:
    """A broker's guard: it accepts what arrives."""


def _call_exchange(name: str, arguments: Sequence[Any]) -> Any:
    try:
        return OPERATIONS[name](*arguments)
    finally:
        connection.close()  # the ORM's, if it was needed: each thread has one of its own


class Responder:
    """Answers to one call of one visitor."""

    def __init__(self, visitor: "ClientConnection", number: int) -> None:
        self.visitor, self.number = visitor, number

    def __call__(self, message: dict[str, Any]) -> None:
        self.visitor.send({"id": self.number, **message})


class ClientConnection(asyncio.Protocol):
    """One connection. Each of its calls is a task, so that a slow one holds no other up."""

    def __init__(self, server: Server) -> None:
        self.work: set[asyncio.Task[None]] = set()
        self._server = server
        self._unpacker = Unpacker()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.visitors.add(self)
        if self._server.faults is not None:
            self._server.faults.on_connect()
        self.send({"paper": VERSION})

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.visitors.discard(self)  # what it asked for happens all the same
        self._server.notifications.unlisten(self)

    def data_received(self, data: bytes) -> None:
        try:
            for body in self._unpacker.feed(data):
                message = unpack(body)
                respond = Responder(self, int(message["id"]))
                task = asyncio.get_running_loop().create_task(self._server.serve(message, respond))
                self.work.add(task)
                task.add_done_callback(self.work.discard)
        except (BadFrameError, KeyError, ValueError, TypeError):
            log.warning("paper: a caller talks nonsense; the line is cut")
            self.reset()

    def send(self, message: dict[str, Any]) -> None:
        """Write a frame, if anybody still listens."""
        if self._transport is None or self._transport.is_closing():
            return
        frame = pack(message)
        faults = self._server.faults
        if faults is not None and "id" in message and (half := faults.halve(frame)):
            self._transport.write(half)
            self.reset()
        elif self._transport.get_write_buffer_size() > MAX_UNREAD:
            self.reset()
        else:
            self._transport.write(frame)

    def leave(self) -> None:
        """Close in peace."""
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """Cut the line: the other side sees a reset."""
        if self._transport is not None:
            reset_connection(self._transport)
