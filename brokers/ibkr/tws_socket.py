"""The socket to TWS: ib_async's client, but a byte leaves at once or not at all.

ib_async queues messages that exceed its own rate and drops those of a closed socket in silence.
Here nothing waits in the process: a guard that has looked must not be followed by a late write.
Source: ib_async 2.1 client.py `sendMsg`, connection.py `sendMsg`, decoder.py `interpret`.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ib_async import client as theirs
from ib_async import decoder as reading

from brokers.ibkr.parse import parts_of
from brokers.rate_limits import Priority, RateLimiter
from brokers.safe_connect import connect_safely

logging.getLogger("ib_async").setLevel(logging.CRITICAL)  # sessions say what matters of it
NO_LINGER = struct.pack("ii", 1, 0)
Client: Any = theirs.Client  # their code is half typed: taken as not typed at all
Decoder: Any = reading.Decoder
READERS: dict[type, Callable[[str], Any]] = {
    str: str,
    int: lambda values: int(values or 0),
    float: lambda values: float(values or 0),
    bool: lambda values: bool(int(values or 0)),
}
OPEN_ORDER = "5"
REF_AT = {OPEN_ORDER: 23, "101": 22}  # where an order's reference stands, in open and ended ones
RAW_LENGTH = 500  # characters of what cannot be read that are kept


class HalfSentError(ConnectionError):
    """The kernel took only a part; the line was cut, so that the rest never leaves."""


class TwsDecoder(Decoder):  # type: ignore[misc]
    """ib_async's decoder; what cannot be read is told instead of being logged away."""

    def wrap(self, methodName: str, types: Any, skip: int = 2) -> Callable[[list[str]], None]:
        """Make the reader of one kind of message. Theirs logs what it cannot read and goes on."""

        def read(fields: list[str]) -> None:
            method = getattr(self.wrapper, methodName, None)
            if method is not None:
                values = zip(types, fields[skip:], strict=False)
                method(*(READERS[kind](field) for kind, field in values))

        return read

    def interpret(self, fields: list[str]) -> None:
        """Read one message. Where it makes no sense it calls `wrapper.unreadable(raw)`, of an order
        that is not ours `wrapper.foreign_unreadable(raw)`: others may place what ib_async cannot
        read."""
        kind, raw = fields[0], "|".join(fields)[:RAW_LENGTH]
        ref = fields[REF_AT[kind]] if len(fields) > REF_AT.get(kind, len(fields)) else None
        try:
            self.handlers[int(kind)](fields)
        except Exception:
            if ref is not None and parts_of(ref) is None:
                self.wrapper.foreign_unreadable(kind, raw)
            else:
                self.wrapper.unreadable(raw)


class TwsClient(Client):  # type: ignore[misc]
    """ib_async's client for one connection. It belongs to the event loop that it connects on."""

    def __init__(self, wrapper: Any) -> None:
        self.greeting = b""  # TWS's version and local time
        super().__init__(wrapper)
        self.decoder = TwsDecoder(wrapper, 0)
        self.conn.connectAsync = self._dial  # the library's would dial a name, wherever it leads
        self._held: list[bytes] | None = None
        self._was_cut = False
        self.greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def _dial(self, host: str, port: int) -> None:
        """Open the socket to an address that was judged just now."""
        await connect_safely(
            host, lambda address: type(self.conn).connectAsync(self.conn, address, port)
        )

    def _onSocketHasData(self, data: bytes) -> None:
        if not self.serverVersion():
            self.greeting += data
        super()._onSocketHasData(data)

    def _onSocketDisconnected(self, message: str) -> None:
        """The line has ended. Where that was in the middle of a message, half of it is all that was
        said of whatever it was about. Source: `Client._onSocketHasData`."""
        if self.isReady() and not self._was_cut and (half := self._data[4:]):
            text = half.decode(errors="backslashreplace").replace("\0", "|")
            self.wrapper.unreadable(text[:RAW_LENGTH])
        super()._onSocketDisconnected(message)

    @property
    def managed_accounts(self) -> list[str]:
        """The login's accounts, also of a line that ends right now."""
        return list(self._accounts)

    def startApi(self) -> None:
        """TWS has greeted: the introduction waits until the gateway's budget has room for it."""
        if not self.greeted.done():
            self.greeted.set_result(None)

    def introduce(self) -> None:
        """Say who we are. Raises ConnectionError."""
        super().startApi()

    def sendMsg(self, msg: str) -> None:
        """Write a message at once, or keep it while `frame` gathers. Raises ConnectionError."""
        body = msg.encode()
        packed = struct.pack(">I", len(body)) + body
        if self._held is not None:
            self._held.append(packed)
        else:
            self.write(packed)

    def frame(self, write_message: Callable[[], None]) -> bytes:
        """Return the bytes of what `write_message` would send; nothing leaves."""
        self._held = []
        try:
            write_message()
            return b"".join(self._held)
        finally:
            self._held = None

    @property
    def alive(self) -> bool:
        """Whether TWS talks to us and the line has not been cut."""
        transport = self.conn.transport
        return bool(self.isReady() and transport is not None and not transport.is_closing())

    @property
    def writable(self) -> bool:
        """Whether bytes may be written now: the line is open and nothing waits in it."""
        transport = self.conn.transport
        return bool(
            self.isConnected()
            and transport is not None
            and not transport.is_closing()
            and not transport.get_write_buffer_size()
        )

    def write(self, frame: bytes) -> None:
        """Hand bytes to the kernel; nothing is awaited.

        Raises ConnectionError if none of them has left, HalfSentError if some may have.
        """
        if not self.writable:
            raise ConnectionError("the line is cut or takes nothing")
        self.conn.sendMsg(frame)
        if self.conn.transport is None or self.conn.transport.get_write_buffer_size():
            self.cut()
            raise HalfSentError("the line takes no more")

    def cut(self) -> None:
        """End the connection by a reset: unsent bytes are dropped on both sides."""
        self._was_cut, transport = True, self.conn.transport
        if transport is None:
            return
        sock = transport.get_extra_info("socket")
        with suppress(OSError, AttributeError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        transport.abort()

    def prepare(self, unconfirmed_seconds: float) -> None:
        """Send small messages at once; what the other side does not confirm ends the line."""
        sock = self.conn.transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if option := getattr(socket, "TCP_USER_TIMEOUT", None):  # Linux
            sock.setsockopt(socket.IPPROTO_TCP, option, int(unconfirmed_seconds * 1000))


async def open_line(
    client: TwsClient,
    address: tuple[str, int, int],
    refused: asyncio.Future[None],
    rate_limiter: RateLimiter,
) -> None:
    """Connect and wait until TWS says what is next. address: host, port, clientId.

    refused: ends the wait with its exception. The first message has its turn in the budget. Raises
    what `refused` holds, ReadFailed where the host may not be dialled, or OSError.
    """
    host, port, client_id = address
    opening = asyncio.ensure_future(client.connectAsync(host, port, client_id, 0))
    try:
        await _first_completed(opening, refused, client.greeted)
        await rate_limiter.acquire(priority=Priority.LOOKUP)
        client.introduce()
        await _first_completed(opening, refused)
        opening.result()
    finally:
        if not opening.done():
            opening.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await opening


async def _first_completed(
    opening: asyncio.Future[None], refused: asyncio.Future[None], *others: asyncio.Future[None]
) -> None:
    """Wait for the first of them. Raises what the first two hold."""
    await asyncio.wait({opening, refused, *others}, return_when=asyncio.FIRST_COMPLETED)
    for one in (refused, opening):
        if one.done():
            one.result()
