"""The HTTP line under ccxt: the guard is asked when the bytes are ready, right before the write.

ccxt's own throttle is off, so between our call and the socket stand only signing, name look-up,
connect and TLS. aiohttp awaits two trace hooks when all of that is done: `on_request_headers_sent`
before the headers are buffered and `on_request_chunk_sent` before a body is written together with
them (`StreamWriter.write_headers`, `.write` in aiohttp 3.14). A request without a body is written
right after the first, one with a body right after the second. What is refused there never left.
"""

import socket
import ssl
import struct
from functools import cache
from typing import Any

import aiohttp
import certifi

from brokers.crypto.guarded_call import GuardedCall, current_call

UNCONFIRMED_SECONDS = 5.0
KEEP_SECONDS = 12.0  # shorter than any of the exchanges' own, so that we end an idle line
RESET = struct.pack("ii", 1, 0)
READS = frozenset({"GET", "HEAD"})


def session() -> aiohttp.ClientSession:
    """Return a session whose orders ask their guard; for the running loop. No cookies are kept:
    it serves many accounts."""
    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(_on_headers)
    trace.on_request_chunk_sent.append(_on_body)
    trace.on_request_redirect.append(_on_redirect)
    connector = aiohttp.TCPConnector(
        ssl=trusted(),
        limit=0,
        keepalive_timeout=KEEP_SECONDS,
        socket_factory=_socket,
    )
    return aiohttp.ClientSession(
        connector=connector,
        trace_configs=[trace],
        cookie_jar=aiohttp.DummyCookieJar(),
        response_class=_Response,
    )


@cache
def trusted() -> ssl.SSLContext:
    """Return the certificates that every exchange's own must follow from: reading them takes tens
    of milliseconds and a megabyte, which no account needs of its own."""
    return ssl.create_default_context(cafile=certifi.where())


class _Response(aiohttp.ClientResponse):
    """An answer of which half is kept, beside the call that it was for, where the rest never comes.

    aiohttp throws away what it has read so far, and reads no more of what it has buffered once the
    line has ended (`ClientResponse.read`, `StreamReader.readany` in aiohttp 3.14).
    """

    async def read(self) -> bytes:
        flight = None if self.method in READS else current_call()
        if flight is not None and self._body is None:
            self._body = await self._read_for(flight)
        return await super().read()

    async def _read_for(self, flight: GuardedCall) -> bytes:
        came = bytearray()
        try:
            while chunk := await self.content.readany():
                came += chunk
        except BaseException:
            came += b"".join(self.content._buffer)
            flight.half = bytes(came)
            self.close()
            raise
        return bytes(came)


def _socket(address: Any) -> socket.socket:
    """Make a socket whose unsent bytes die with it: an order that waits in the kernel must not
    leave after we have given it up, nor wait there for a network that comes back."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    if option := getattr(socket, "TCP_USER_TIMEOUT", None):  # Linux
        made.setsockopt(socket.IPPROTO_TCP, option, int(UNCONFIRMED_SECONDS * 1000))
    return made


async def _on_headers(_: aiohttp.ClientSession, __: Any, params: Any) -> None:
    flight = _call_of(params)
    if flight is not None and params.headers.get("Content-Length", "0") == "0":
        _check_guard(flight)


async def _on_body(_: aiohttp.ClientSession, __: Any, params: Any) -> None:
    flight = _call_of(params)
    if flight is not None:
        _check_guard(flight)


async def _on_redirect(_: aiohttp.ClientSession, __: Any, params: Any) -> None:
    """No request of an account goes to another address than the one that it was signed for."""
    raise aiohttp.ClientError("redirected")


def _call_of(params: Any) -> GuardedCall | None:
    """The flight of a request; reads that belong to a call (and its own) pass."""
    return None if params.method in READS else current_call()


def _check_guard(flight: GuardedCall) -> None:
    if not flight.ask():
        raise aiohttp.ClientConnectionError("not let through")
