"""Connect to a host that a user typed: resolve it at each connect and check every address first.

A tenant's host name may resolve to the tenant's own gateway during the test, and to an address in a
private network at the next connect. So an adapter opens sockets to typed hosts by `connect_safely`
only, which connects to the addresses that it has checked and never to the name.

A typed address was checked when it was saved. A name may only resolve to public addresses; for a
private gateway, or a user's own, the user types its address. `set_address_policy` sets the check;
until then every name is rejected.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from brokers.base import ReadFailed
from common.reason_codes import Code
from common.web.ip_addresses import Address

T = TypeVar("T")
AddressPolicy = Callable[[Address], bool]
ATTEMPT_SECONDS = 1.5  # for each address but the last: a connect has only some seconds in total


def _deny_all(_: Address) -> bool:
    return False


_policy: AddressPolicy = _deny_all


def set_address_policy(policy: AddressPolicy) -> None:
    """Set the check of resolved addresses. policy: returns True if a name may resolve to it."""
    global _policy
    _policy = policy


async def connect_safely(host: str, connect: Callable[[str], Awaitable[T]]) -> T:
    """Connect to a host: try its allowed addresses in turn until one accepts.

    connect: opens a connection to an address, without sending anything yet. Each address but the
    last has ATTEMPT_SECONDS. Raises ReadFailed HOST_NOT_ALLOWED, or what `connect` raises for the
    last address: OSError. It waits for name server and network: give it a time-out.
    """
    *others, last = await addresses_of(host)
    for address in others:
        with suppress(OSError):  # TimeoutError, too
            async with asyncio.timeout(ATTEMPT_SECONDS):
                return await connect(address)
    return await connect(last)


async def addresses_of(host: str) -> list[str]:
    """Return the addresses to connect to for a host, at least one.

    If a name has several, all must be allowed. IPv4 comes first, since gateways listen there.
    Raises ReadFailed HOST_NOT_ALLOWED; OSError if the name has no address. It waits for the name
    server: give it a time-out.
    """
    if (typed := typed_address(host)) is not None:
        return [str(typed)]
    loop = asyncio.get_running_loop()
    try:
        found = addresses_in(await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    except UnicodeError as error:
        raise OSError(f"{host!r} is not a valid host name: {error}") from error
    if not all(_policy(address) for address in found):
        raise ReadFailed(Code.HOST_NOT_ALLOWED, refusal_reason(host))
    if not found:
        raise OSError(f"{host!r} has no address")
    by_version = sorted(dict.fromkeys(found), key=lambda address: address.version)
    return [str(address) for address in by_version]


def typed_address(host: str) -> Address | None:
    """Return the address that a host is, in any spelling; None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:  # the C library also reads 127.1, 0x7f000001 and 2130706433 as addresses
        return ipaddress.ip_address(socket.inet_aton(host))
    except (OSError, UnicodeError):
        return None


def addresses_in(entries: list[tuple[Any, ...]]) -> list[Address]:
    """Return the addresses in a result of getaddrinfo."""
    return [ipaddress.ip_address(str(entry[4][0])) for entry in entries]


def refusal_reason(host: str) -> str:
    """Return why a name is rejected, without its addresses: they may be confidential."""
    return (
        f"{host!r} is a name that resolves to an address that is not allowed for names: a private"
        " one, or that of a user's own gateway. Enter the address instead."
    )
