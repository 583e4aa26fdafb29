"""Where a connection's host leads: looked up at each connect, judged, and dialled as it was judged.

A tenant's name may lead to his own gateway while he tests it and into somebody's network at the
next connect. So an adapter that opens a socket to a typed host has `connect_safely` do it each
time, which tries what was judged and never the name. An address was judged when it was typed. A
name may only lead to what is open to everybody: who means a private gateway, or one that is a
user's own, types its address. What that is only the installation knows: `set_address_policy` says
who judges; until then no name may.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from brokers.base import ReadFailed
from common.ip_addresses import Address
from common.reason_codes import Code

T = TypeVar("T")
AddressPolicy = Callable[[Address], bool]
ATTEMPT_SECONDS = 1.5  # for an address while there is another: a connect has some seconds in all


def _deny_all(_: Address) -> bool:
    return False


_policy: AddressPolicy = _deny_all


def set_address_policy(judge: AddressPolicy) -> None:
    """Have every address that a name leads to judged: True where a name may lead there."""
    global _policy
    _policy = judge


async def connect_safely(host: str, connect: Callable[[str], Awaitable[T]]) -> T:
    """Open a line to a host: to each address that it may lead to in turn, until one takes it.

    connect: opens one to an address, and says nothing on it yet. Each but the last address has
    EACH_SECONDS. Raises ReadFailed HOST_NOT_ALLOWED, or what `connect` raises at the last one:
    OSError. It waits for the name server and the network: give it a time-out.
    """
    *others, last = await addresses_of(host)
    for address in others:
        with suppress(OSError):  # TimeoutError, too
            async with asyncio.timeout(ATTEMPT_SECONDS):
                return await connect(address)
    return await connect(last)


async def addresses_of(host: str) -> list[str]:
    """Return the addresses to dial for a host, at least one. Where a name has several, all must be
    allowed, and IPv4 ones come first: those are what gateways listen at.

    Raises ReadFailed HOST_NOT_ALLOWED; OSError where the name leads nowhere. It waits for the name
    server: give it a time-out.
    """
    if (typed := typed_address(host)) is not None:
        return [str(typed)]
    loop = asyncio.get_running_loop()
    try:
        found = addresses_in(await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    except UnicodeError as error:
        raise OSError(f"{host!r} is no name: {error}") from error
    if not all(_policy(address) for address in found):
        raise ReadFailed(Code.HOST_NOT_ALLOWED, refusal_reason(host))
    if not found:
        raise OSError(f"{host!r} leads nowhere")
    return [str(one) for one in sorted(dict.fromkeys(found), key=lambda one: one.version)]


def typed_address(host: str) -> Address | None:
    """Return the address that a host is in some spelling; None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:  # the C library also reads 127.1, 0x7f000001 and 2130706433 as addresses
        return ipaddress.ip_address(socket.inet_aton(host))
    except (OSError, UnicodeError):
        return None


def addresses_in(found: list[tuple[Any, ...]]) -> list[Address]:
    """Return the addresses in what getaddrinfo answered."""
    return [ipaddress.ip_address(str(entry[4][0])) for entry in found]


def refusal_reason(host: str) -> str:
    """Say why a name may not be dialled; not where it leads, which is not everybody's to know."""
    return (
        f"{host!r} is a name that leads to an address that is not allowed for names: a private one,"
        " or that of a user's own gateway. Give its address instead."
    )
