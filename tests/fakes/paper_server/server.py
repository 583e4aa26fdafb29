"""The server: accepts connections, runs calls on the paper broker's books, sends answers."""

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
HEARTBEAT_SECONDS = 1.0
MAX_UNREAD = 256 * 2**20  # bytes; a client that reads no more is disconnected


class Server:
    """Serves the books of this process's database until `close`."""

    def __init__(self, *, faults: bool = False) -> None:
        """faults: whether callers may cause faults (see `faults.py`)."""
        self.adapter, self.threads = PaperAdapter(), WorkerThreads()
        self.notifications = NotificationHub(self.adapter.stream_events)
        self.clients: set[ClientConnection] = set()
        self.faults = Faults(self) if faults else None
        self._host, self._port = "", 0
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._port

    async def open(self, host: str, port: int) -> None:
        """Listen; port 0 is any. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: ClientConnection(self), host, port)
        self._host, self._port = host, self._listener.sockets[0].getsockname()[1]
        self.spawn(self._send_heartbeats())

    async def shut(self, seconds: float) -> None:
        """Refuse new connections for a while."""
        if self._listener is None:
            return
        listener, self._listener = self._listener, None
        listener.close()
        await asyncio.sleep(seconds)
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            lambda: ClientConnection(self), self._host, self._port
        )

    async def close(self, patience: float = 3.0) -> None:
        """Accept no connection, finish the calls in progress, close all connections."""
        if self._listener is not None:
            self._listener.close()
        under_way = [client.work for client in self.clients]
        pending = [task for tasks in under_way for task in tasks]
        if pending:
            await asyncio.wait(pending, timeout=patience)
        for client in list(self.clients):
            client.leave()
        self.notifications.close()
        for task in list(self._tasks):
            task.cancel()
        await self.adapter.disconnect()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine beside the calls."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_heartbeats(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            for client in list(self.clients):
                client.send({})

    # ---- calls ----------------------------------------------------------------------------
    async def serve(self, message: Mapping[str, Any], respond: "Responder") -> None:
        """Answer one call. An order whose outcome is unknown gets no answer."""
        name = message.get("do", "")
        try:
            if name == SUBMIT:
                await self._submit_many(message["args"], respond)
            elif name == LISTEN:
                self.notifications.listen(respond.client, respond)
            elif name == UNLISTEN:
                self.notifications.unlisten(respond.client, int(message["args"][0]))
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
        """Take orders, however late they arrive. Outcomes of one moment leave in one frame."""
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
            result = await self.threads.run(_call_exchange, name, arguments)
        else:
            result = await getattr(self.adapter, name)(*arguments)
        return {"result": fragment(call.result_type, result)}

    async def _fault(self, args: Any, respond: "Responder") -> None:
        if self.faults is None:
            raise ReadFailed(Code.FIELD_INVALID, "started without --faults")
        await self.faults.make(*args)
        respond({"result": None})


def _accept_any(_request: OrderRequest) -> None:
    """Accept every order that arrives: a broker has no guard."""


def _call_exchange(name: str, arguments: Sequence[Any]) -> Any:
    try:
        return OPERATIONS[name](*arguments)
    finally:
        connection.close()  # the ORM's, if it was needed: each thread has one of its own


class Responder:
    """Sends the answers to one call of one client."""

    def __init__(self, client: "ClientConnection", number: int) -> None:
        self.client, self.number = client, number

    def __call__(self, message: dict[str, Any]) -> None:
        self.client.send({"id": self.number, **message})


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
        self._server.clients.add(self)
        if self._server.faults is not None:
            self._server.faults.on_connect()
        self.send({"paper": VERSION})

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.clients.discard(self)  # what it asked for happens all the same
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
            log.warning("paper: malformed message; the connection is reset")
            self.reset()

    def send(self, message: dict[str, Any]) -> None:
        """Write a frame, if the client is still connected."""
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
        """Close after what was written has left."""
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        if self._transport is not None:
            reset_connection(self._transport)
