"""Keep messages away from private networks unless the operators allow them.

Users enter the URLs, so a URL may try to make us call our own machines. Libraries below apprise
resolve names themselves, so the check is made where the connection is opened: inside `guarded()`
the host is resolved once, each address is checked, and the checked address is connected to. A
redirect or a second look-up can therefore not lead elsewhere. TLS still checks the host's name.
"""

import ipaddress
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import HTTPResponse

from common.web.ip_addresses import Address, Network, is_public, leads_to


class RefusedError(Exception):
    """The message must not be sent there; it is not tried again."""


def is_allowed(address: Address, networks: Sequence[Network], *, encrypted: bool) -> bool:
    """Whether it may be connected to: public addresses over TLS, those in `networks` always."""
    real = leads_to(address)
    return any(real in network for network in networks) or (encrypted and is_public(real))


def resolve_allowed_address(
    host: str, port: int, networks: Sequence[Network], *, encrypted: bool
) -> str:
    """Resolve a host once and return an address that may be connected to.

    All its addresses must be allowed: of a mixed answer, the next connection could use a forbidden
    one. Raises RefusedError, or OSError if the name does not resolve.
    """
    addresses = [
        str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    ]
    for text in addresses:
        address = ipaddress.ip_address(text.partition("%")[0])
        if not is_allowed(address, networks, encrypted=encrypted):
            raise RefusedError(
                _refusal_message(host, encrypted=encrypted, is_global=is_public(address))
            )
    return addresses[0]


def retry_seconds(header: str) -> float:
    """Return the seconds that a Retry-After header asks to wait; 0 if it cannot be read."""
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)


def _refusal_message(host: str, *, encrypted: bool, is_global: bool) -> str:
    if is_global and not encrypted:
        return f"{host} can only be reached by https."
    return (
        f"{host} is in a network that the operators have not allowed (networks.outbound_networks)."
    )


class _Guard:
    """The rules of one send: the networks it may reach, and the end of its connections."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self.networks = networks
        self.refused: RefusedError | None = None
        self.retry_after = 0.0  # seconds that the last answer asked for
        self._lock = threading.Lock()
        self._duplicates: list[socket.socket] = []
        self._is_over = False

    def connect(
        self, to: HTTPConnection, original: Callable[[HTTPConnection], socket.socket]
    ) -> socket.socket:
        """Connect to a checked address of the host. Raises RefusedError, OSError."""
        host = to.host
        encrypted = isinstance(to, HTTPSConnection)
        try:
            address = resolve_allowed_address(host, to.port, self.networks, encrypted=encrypted)
        except RefusedError as error:
            self.refused = error  # a library may swallow it
            raise
        to._dns_host = address
        try:
            connected = original(to)
        finally:
            to.host = host
        self._watch(connected)
        return connected

    def _watch(self, connected: socket.socket) -> None:
        """Keep a duplicate of the socket, since TLS takes over the original."""
        with self._lock:
            if self._is_over:
                connected.close()
                raise TimeoutError("The time for this message has run out.")
            self._duplicates.append(socket.socket(fileno=os.dup(connected.fileno())))

    def end(self) -> None:
        """Close every connection of this send, even while an answer still arrives byte by byte."""
        with self._lock:
            self._is_over = True
            for duplicate in self._duplicates:
                with suppress(OSError):
                    duplicate.shutdown(socket.SHUT_RDWR)
                duplicate.close()
            self._duplicates.clear()


_active: ContextVar[_Guard | None] = ContextVar("outbound_guard", default=None)


@contextmanager
def guarded(networks: Sequence[Network], *, seconds: float) -> Iterator[_Guard]:
    """Check every HTTP connection that this thread opens inside; close all after `seconds`.

    Raises RefusedError on leaving if a connection was refused, even if a library hid it.
    """
    guard = _Guard(networks)
    token = _active.set(guard)
    watchdog = threading.Timer(seconds, guard.end)
    watchdog.daemon = True
    watchdog.start()
    try:
        yield guard
    finally:
        watchdog.cancel()
        _active.reset(token)
        guard.end()
    if guard.refused:
        raise guard.refused


def _install() -> None:
    """Make urllib3's connections use the active guard; without one they work as before."""
    original = HTTPConnection._new_conn

    def new_connection(self: HTTPConnection) -> socket.socket:
        guard = _active.get()
        return guard.connect(self, original) if guard else original(self)

    HTTPConnection._new_conn = new_connection  # type: ignore[method-assign]
    original_getresponse = HTTPConnection.getresponse

    def get_response(self: HTTPConnection) -> HTTPResponse:
        response = original_getresponse(self)
        if guard := _active.get():
            guard.retry_after = retry_seconds(response.headers.get("Retry-After", ""))
        return response

    HTTPConnection.getresponse = get_response  # type: ignore[method-assign]


_install()
