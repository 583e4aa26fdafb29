"""One TCP connection to the paper broker, with many calls under way on it.

A frame goes to the kernel whole and at once, or the connection is reset: no byte waits in this
process to leave after the guard was called. What the kernel still holds is discarded
by a reset, or when the other side has not confirmed it within `UNCONFIRMED_SECONDS`.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from typing import Any, Protocol

from common.clocks import machine_time
from tests.fakes.paper_server.framing import HEAD, BadFrameError, Unpacker, number_in, pack, unpack
from tests.fakes.paper_server.protocol import VERSION

log = logging.getLogger(__name__)
CONNECT_SECONDS = 2.0
UNCONFIRMED_SECONDS = 5.0
SILENT_SECONDS = 5.0  # the server sends something each second
POLL_SECONDS = 1.0
FIRST_DELAY, LONGEST_DELAY = 0.05, 1.0
MAX_UNSENT = 4 * 2**20  # bytes that the kernel should take at once
NO_LINGER = struct.pack("ii", 1, 0)


class AnswerHandler(Protocol):
    """What receives the answers to one call."""

    def receive(self, message: Mapping[str, Any]) -> None:
        """Take an answer. Raises ValueError, KeyError or TypeError if it is malformed."""
        ...

    def lose(self, why: str, came: bytes = b"") -> None:
        """Learn that no answer will come. came: the part that did."""
        ...


class ServerConnection(asyncio.Protocol):
    """A connection, from the greeting on. It belongs to one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.greeted: asyncio.Future[None] = loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._unpacker = Unpacker()
        self._malformed = b""
        self._waiting: dict[int, AnswerHandler] = {}
        self._ids = count(1)
        self._received_at = machine_time()
        self._loop = loop
        self._watch: asyncio.Task[None] | None = None

    # ---- for callers ----------------------------------------------------------------------
    @property
    def usable(self) -> bool:
        """Whether a frame may be written now."""
        return self._transport is not None and not self._transport.is_closing()

    def make_ready(self, message: dict[str, Any]) -> tuple[int, bytes]:
        """Put a call into bytes. Returns its number and its frame, for `write`."""
        number = next(self._ids)
        return number, pack({"id": number, **message})

    def write(self, number: int, frame: bytes, waiting: AnswerHandler) -> None:
        """Write a frame; nothing is awaited.

        Raises ConnectionError when it provably did not arrive whole: the broker never acts on it.
        """
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("the connection is closed")
        self._waiting[number] = waiting
        self._transport.write(frame)
        if self._transport.get_write_buffer_size():  # the rest would leave later
            self._waiting.pop(number)
            self.cut("the send buffer is full")
            raise ConnectionAbortedError("the send buffer is full")

    def forget(self, number: int) -> None:
        """Ignore further answers to this call."""
        self._waiting.pop(number, None)

    def cut(self, why: str) -> None:
        """End the connection at once; what the kernel has not sent yet is thrown away."""
        if self._transport is not None and not self._transport.is_closing():
            log.warning("paper broker: %s; the connection is reset", why)
            reset_connection(self._transport)

    def close(self) -> None:
        """Close the connection after what was written has left."""
        if self._transport is not None:
            self._transport.close()
        if self._watch is not None:
            self._watch.cancel()

    # ---- asyncio.Protocol -----------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        _prepare(transport.get_extra_info("socket"))
        self._watch = self._loop.create_task(self._watch_over())

    def data_received(self, data: bytes) -> None:
        self._received_at = machine_time()
        try:
            for body in self._unpacker.feed(data):
                self._take(body)
        except BadFrameError as error:
            log.warning("paper broker: not understood: %r", error.raw)
            self._malformed = error.raw
            self.cut("malformed data")

    def connection_lost(self, exc: Exception | None) -> None:
        if partial := self._unpacker.rest:
            log.warning("paper broker: half an answer: %r", partial)
        if self._watch is not None:
            self._watch.cancel()
        if not self.greeted.done():
            self.greeted.set_exception(exc or ConnectionResetError("no greeting"))
            self.greeted.exception()  # the caller may have stopped waiting for it
        waiting, self._waiting = self._waiting, {}
        why = type(exc).__name__ if exc else "the connection was closed"
        received = self._malformed or partial[HEAD.size :]
        call_number = number_in(received)
        for number, handler in waiting.items():
            handler.lose(why, received if number == call_number else b"")

    def _take(self, body: bytes) -> None:
        message = unpack(body)
        number = message.get("id")
        if number is None:
            self._greet(message)
        elif waiting := self._waiting.get(number):
            try:
                waiting.receive(message)
            except (ValueError, KeyError, TypeError):
                log.warning("paper broker: malformed answer: %r", body[:500])
                self._waiting.pop(number, None)
                waiting.lose("the answer is malformed", body[:500])

    def _greet(self, message: Mapping[str, Any]) -> None:
        greeting = message.get("paper")
        if greeting is None or self.greeted.done():
            return  # a heartbeat
        if greeting == VERSION:
            self.greeted.set_result(None)
        else:
            self.greeted.set_exception(
                ConnectionRefusedError(f"the server speaks version {greeting}")
            )

    async def _watch_over(self) -> None:
        """Reset the connection when nothing arrives any more. Ends with the event loop."""
        try:
            while self.usable:
                asked_at = machine_time()
                await asyncio.sleep(POLL_SECONDS)
                awake = machine_time() - asked_at < 2 * POLL_SECONDS  # else read first what arrived
                if awake and machine_time() - self._received_at > SILENT_SECONDS:
                    self.cut("no data received")
        finally:
            if self._transport is not None and not self._transport.is_closing():
                self._transport.abort()


def _prepare(sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if (
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) < MAX_UNSENT // 4
    ):  # loopback's is larger
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_UNSENT)
    if option := getattr(socket, "TCP_USER_TIMEOUT", None):  # Linux
        sock.setsockopt(socket.IPPROTO_TCP, option, int(UNCONFIRMED_SECONDS * 1000))


def reset_connection(transport: asyncio.Transport) -> None:
    """End a connection by a reset: unsent bytes are dropped on both sides."""
    sock = transport.get_extra_info("socket")
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    transport.abort()


class ConnectionManager:
    """One event loop's connection to the server: opened again when it is lost, with back-off."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._link: ServerConnection | None = None
        self._making = asyncio.Lock()
        self._delay, self._not_before, self._why = FIRST_DELAY, 0.0, ""

    async def link(self) -> ServerConnection:
        """Return a link that is usable. Raises OSError: no byte of any call has left."""
        if self._link is not None and self._link.usable:
            return self._link
        async with self._making:
            if self._link is None or not self._link.usable:
                self._link = await self._make()
            return self._link

    def close(self) -> None:
        """End the link, if there is one."""
        if self._link is not None:
            self._link.close()
            self._link = None

    async def _make(self) -> ServerConnection:
        if machine_time() < self._not_before:
            raise ConnectionError(self._why)
        loop = asyncio.get_running_loop()
        connection: ServerConnection | None = None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await loop.create_connection(
                    lambda: ServerConnection(loop), self._host, self._port
                )
                await connection.greeted
        except OSError as error:  # a time-out is one, too
            if connection is not None:
                connection.cut("no greeting")
            self._why = f"{type(error).__name__} {self._host}:{self._port}"
            self._not_before = machine_time() + self._delay
            self._delay = min(self._delay * 2, LONGEST_DELAY)
            raise ConnectionError(self._why) from error
        self._delay = FIRST_DELAY
        return connection
