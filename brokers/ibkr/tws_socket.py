"""The socket to TWS: ib_async's client, but bytes leave at once or not at all.

ib_async queues messages beyond its own rate, and silently drops messages to a closed socket. Here
nothing is queued: no late write may follow the guard's check.
Source: ib_async 2.1 client.py `sendMsg`, connection.py `sendMsg`, decoder.py `interpret`.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ib_async import client as ib_client
from ib_async import decoder as ib_decoder

from brokers.base import outcome_of
from brokers.ibkr import execution_times
from brokers.ibkr.parse import parse_order_ref
from brokers.rate_limits import Priority, RateLimiter
from brokers.safe_connect import connect_safely

logging.getLogger("ib_async").setLevel(logging.CRITICAL)  # sessions log what matters
NO_LINGER = struct.pack("ii", 1, 0)
Client: Any = ib_client.Client  # Any: ib_async is typed only in part
Decoder: Any = ib_decoder.Decoder
READERS: dict[type, Callable[[str], Any]] = {
    str: str,
    int: lambda values: int(values or 0),
    float: lambda values: float(values or 0),
    bool: lambda values: bool(int(values or 0)),
}
OPEN_ORDER = "5"
REF_AT = {OPEN_ORDER: 23, "101": 22}  # field of an order's reference, in open and ended orders
EXECUTED_AT = 15  # field of an execution's time
RAW_LENGTH = 500  # characters kept of an invalid message


class HalfSentError(ConnectionError):
    """The kernel took only a part of the bytes; we reset the connection so that no more leave."""


class TwsDecoder(Decoder):  # type: ignore[misc]
    """ib_async's decoder, except that it reports invalid messages instead of only logging them."""

    def wrap(self, methodName: str, types: Any, skip: int = 2) -> Callable[[list[str]], None]:
        """Return the reader of one message type. ib_async's own logs errors and continues."""

        def read(fields: list[str]) -> None:
            method = getattr(self.wrapper, methodName, None)
            if method is not None:
                values = zip(types, fields[skip:], strict=False)
                method(*(READERS[value_type](field) for value_type, field in values))

        return read

    def execDetails(self, fields: list[str]) -> None:
        """Read an execution, in whichever zone TWS writes its time."""
        time = execution_times.readable(fields[EXECUTED_AT])
        super().execDetails([*fields[:EXECUTED_AT], time, *fields[EXECUTED_AT + 1 :]])

    def interpret(self, fields: list[str]) -> None:
        """Read one message. If it is invalid, call `wrapper.on_malformed(raw)`; for an order that
        is not ours `wrapper.on_foreign_malformed`, since ib_async cannot read every order type."""
        kind, raw = fields[0], "|".join(fields)[:RAW_LENGTH]
        ref = fields[REF_AT[kind]] if len(fields) > REF_AT.get(kind, len(fields)) else None
        try:
            self.handlers[int(kind)](fields)
        except Exception:  # any: ib_async's readers raise whatever a bad field makes them raise
            if ref is not None and parse_order_ref(ref) is None:
                self.wrapper.on_foreign_malformed(kind, raw)
            else:
                self.wrapper.on_malformed(raw)


class TwsClient(Client):  # type: ignore[misc]
    """ib_async's client for one connection. Use it only on the event loop that it connects on."""

    def __init__(self, wrapper: Any) -> None:
        self.greeting = b""  # TWS's version and local time
        super().__init__(wrapper)
        self.decoder = TwsDecoder(wrapper, 0)
        self.conn.connectAsync = self._dial  # ib_async's own would connect to a name unchecked
        self._held: list[bytes] | None = None
        self._was_cut = False
        self.greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def _dial(self, host: str, port: int) -> None:
        """Open the socket to an address that was just checked."""
        await connect_safely(
            host, lambda address: type(self.conn).connectAsync(self.conn, address, port)
        )

    def _onSocketHasData(self, data: bytes) -> None:
        if not self.serverVersion():
            self.greeting += data
        super()._onSocketHasData(data)

    def _onSocketDisconnected(self, message: str) -> None:
        """Handle the end of the connection. Report an incomplete message as malformed.

        Source: `Client._onSocketHasData`."""
        if self.isReady() and not self._was_cut and (half := self._data[4:]):
            text = half.decode(errors="backslashreplace").replace("\0", "|")
            self.wrapper.on_malformed(text[:RAW_LENGTH])
        super()._onSocketDisconnected(message)

    @property
    def managed_accounts(self) -> list[str]:
        """The login's accounts, even while the connection is ending."""
        return list(self._accounts)

    def startApi(self) -> None:
        """Note TWS's greeting; `introduce` is called when the rate limit allows."""
        if not self.greeted.done():
            self.greeted.set_result(None)

    def introduce(self) -> None:
        """Send our clientId. Raises ConnectionError."""
        super().startApi()

    def sendMsg(self, msg: str) -> None:
        """Write a message at once, or collect it for `frame`. Raises ConnectionError."""
        body = msg.encode()
        packed = struct.pack(">I", len(body)) + body
        if self._held is not None:
            self._held.append(packed)
        else:
            self.write(packed)

    def frame(self, write_message: Callable[[], None]) -> bytes:
        """Return the bytes that `write_message` would send, without sending them."""
        self._held = []
        try:
            write_message()
            return b"".join(self._held)
        finally:
            self._held = None

    @property
    def alive(self) -> bool:
        """Whether TWS has accepted us and the connection is open."""
        transport = self.conn.transport
        return bool(self.isReady() and transport is not None and not transport.is_closing())

    @property
    def writable(self) -> bool:
        """Whether bytes may be written now: the connection is open and its buffer empty."""
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
            raise ConnectionError("the connection is lost or accepts no bytes")
        self.conn.sendMsg(frame)
        if self.conn.transport is None or self.conn.transport.get_write_buffer_size():
            self.cut()
            raise HalfSentError("the connection accepts no more bytes")

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
        """Send small messages at once; end the connection if TWS confirms no bytes in time."""
        sock = self.conn.transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if option := getattr(socket, "TCP_USER_TIMEOUT", None):  # Linux
            sock.setsockopt(socket.IPPROTO_TCP, option, int(unconfirmed_seconds * 1000))


async def open_connection(
    client: TwsClient,
    address: tuple[str, int, int],
    refused: asyncio.Future[None],
    rate_limiter: RateLimiter,
) -> None:
    """Connect and wait until TWS has accepted us. address: host, port, clientId.

    refused: ends the wait with its exception. The first message waits for the rate limit. Raises
    the exception of `refused`, ReadFailed if the host is not allowed, or OSError.
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
            with suppress(asyncio.CancelledError):
                await outcome_of(opening)


async def _first_completed(
    opening: asyncio.Future[None], refused: asyncio.Future[None], *others: asyncio.Future[None]
) -> None:
    """Wait for the first of them to end. Raises the exception of `refused` or `opening`."""
    await asyncio.wait({opening, refused, *others}, return_when=asyncio.FIRST_COMPLETED)
    for future in (refused, opening):
        if future.done():
            future.result()
