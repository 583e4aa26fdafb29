"""The HTTP session under ccxt: the guard runs when the bytes are ready, right before the write.

ccxt's own throttle is off, so only signing, name look-up, connect and TLS happen between our call
and the socket. aiohttp awaits two trace hooks when all of that is done: `on_request_headers_sent`
before the headers are buffered and `on_request_chunk_sent` before a body is written together with
them (`StreamWriter.write_headers`, `.write` in aiohttp 3.14). A request without a body is written
right after the first, one with a body right after the second. What the guard refuses is never sent.
"""

import socket
import ssl
import struct
from functools import cache
from typing import Any

import aiohttp
import certifi

from brokers.crypto.guarded_call import GuardedCall, current_call

UNACKNOWLEDGED_SECONDS = 5.0  # TCP_USER_TIMEOUT: sent bytes without an acknowledgement
KEEPALIVE_SECONDS = 12.0  # shorter than any exchange's, so that we close idle connections
LINGER_ZERO = struct.pack("ii", 1, 0)  # on, 0 s: closing resets the connection
READ_METHODS = frozenset({"GET", "HEAD"})


def session() -> aiohttp.ClientSession:
    """Return a session whose orders run their guard, for the running loop. It keeps no cookies,
    since it serves many accounts."""
    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(_on_headers)
    trace.on_request_chunk_sent.append(_on_body)
    trace.on_request_redirect.append(_on_redirect)
    connector = aiohttp.TCPConnector(
        ssl=tls_context(),
        limit=0,
        keepalive_timeout=KEEPALIVE_SECONDS,
        socket_factory=_socket,
    )
    return aiohttp.ClientSession(
        connector=connector,
        trace_configs=[trace],
        cookie_jar=aiohttp.DummyCookieJar(),
        response_class=_Response,
    )


@cache
def tls_context() -> ssl.SSLContext:
    """Return the TLS context of all sessions. Loading its certificates takes tens of milliseconds
    and a megabyte, so all accounts share it."""
    return ssl.create_default_context(cafile=certifi.where())


class _Response(aiohttp.ClientResponse):
    """A response whose received part is stored with its call if the rest never arrives.

    aiohttp throws away what it has read so far, and reads no more of what it has buffered once the
    connection has ended (`ClientResponse.read`, `StreamReader.readany` in aiohttp 3.14).
    """

    async def read(self) -> bytes:
        guarded = None if self.method in READ_METHODS else current_call()
        if guarded is not None and self._body is None:
            self._body = await self._read_for(guarded)
        return await super().read()

    async def _read_for(self, guarded: GuardedCall) -> bytes:
        received = bytearray()
        try:
            while chunk := await self.content.readany():
                received += chunk
        except BaseException:  # any: also a cancellation; it is raised again
            received += b"".join(self.content._buffer)
            guarded.partial_answer = bytes(received)
            self.close()
            raise
        return bytes(received)


def _socket(address: Any) -> socket.socket:
    """Return a socket that drops its unsent bytes when it is closed: an order that waits in the
    kernel must not leave after we gave it up, nor wait for a network to return."""
    family, kind, protocol, _, _ = address
    new_socket = socket.socket(family, kind, protocol)
    new_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    if option := getattr(socket, "TCP_USER_TIMEOUT", None):  # Linux
        new_socket.setsockopt(socket.IPPROTO_TCP, option, int(UNACKNOWLEDGED_SECONDS * 1000))
    return new_socket


async def _on_headers(_: aiohttp.ClientSession, __: Any, params: Any) -> None:
    guarded = _call_of(params)
    if guarded is not None and params.headers.get("Content-Length", "0") == "0":
        _check_guard(guarded)


async def _on_body(_: aiohttp.ClientSession, __: Any, params: Any) -> None:
    guarded = _call_of(params)
    if guarded is not None:
        _check_guard(guarded)


async def _on_redirect(_: aiohttp.ClientSession, __: Any, params: Any) -> None:
    """Refuse redirects: a request goes only to the address that it was signed for."""
    raise aiohttp.ClientError("redirected")


def _call_of(params: Any) -> GuardedCall | None:
    """Return the call of a request; None for a read, also one that belongs to a call."""
    return None if params.method in READ_METHODS else current_call()


def _check_guard(guarded: GuardedCall) -> None:
    if not guarded.check_guard():
        raise aiohttp.ClientConnectionError("refused by the guard")
