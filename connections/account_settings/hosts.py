"""Which hosts a tenant's connection may name: never our own network unless operators said so.

A connection's host is typed by a tenant and called from a trading process. Public addresses may be
named; private, loopback, link-local and reserved ones only inside FILLCAST_BROKER_NETWORKS, and by
their address. A name is judged when it is typed (no look-up: that is network), by what it resolves
to when a test runs, and at each connect (brokers/safe_connect.py): it may lead to what is public
only.

A gateway that asks for no password (IBKR's) serves whoever reaches it: FILLCAST_GATEWAY_OWNERS
names the user that it is for, and no other user's accounts may be there. The line that names the
address most closely decides.
"""

import socket
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from brokers import safe_connect
from common.errors import InvalidInputError
from common.ip_addresses import Address, is_public, leads_to
from common.reason_codes import Code

HOST_KEYS = ("host", "server_host", "gateway", "url", "base_url", "address")
_PRIVATE_ZONES = (
    "localhost",
    "local",
    "internal",
    "lan",
    "home",
    "intranet",
    "corp",
    "localdomain",
)


def hosts_in(values: Mapping[str, Any], keys: Iterable[str] = ()) -> dict[str, str]:
    """Return the hosts that a connection's settings name, by their key. keys: of its kind's own."""
    asked = {*HOST_KEYS, *keys}
    return {key: _host_of(str(values[key])) for key in sorted(asked) if values.get(key)}


def check_named(values: Mapping[str, Any], keys: Iterable[str] = (), username: str = "") -> None:
    """Refuse settings that name a host of our own network or of somebody else than this user,
    without asking any name server.

    Raises InvalidInputError HOST_NOT_ALLOWED; `field` names the key.
    """
    for key, host in hosts_in(values, keys).items():
        address = _address(host)
        if address is not None:
            check_addresses([address], host, field=f"settings.{key}", username=username)
        elif not host or _is_private_name(host):
            raise _refused(host, f"settings.{key}")


def check_resolved(values: Mapping[str, Any], keys: Iterable[str] = (), username: str = "") -> None:
    """Refuse settings whose hosts are, or lead into, our own network or somebody else's gateway.

    Asks the name server: call it outside of any transaction. Raises InvalidInputError
    HOST_NOT_ALLOWED. Who dials a name judges it anew (brokers/safe_connect.py): this says it early.
    """
    for key, host in hosts_in(values, keys).items():
        field = f"settings.{key}"
        if (address := _address(host)) is not None:
            check_addresses([address], host, field=field, username=username)
            continue
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            continue  # the adapter will say that it is not reachable, which is the truth
        if not all(may_resolve_to(each) for each in safe_connect.addresses_in(found)):
            raise InvalidInputError(
                Code.HOST_NOT_ALLOWED, safe_connect.refusal_reason(host), field=field
            )


def hosts_outside_operator_networks(
    values: Mapping[str, Any], keys: Iterable[str] = ()
) -> list[str]:
    """Return the hosts that settings name outside of FILLCAST_BROKER_NETWORKS, in one spelling."""
    named = [(_address(host), host) for host in hosts_in(values, keys).values()]
    return [
        host if address is None else str(leads_to(address))
        for address, host in named
        if address is None or not _is_operator_network(leads_to(address))
    ]


def may_resolve_to(address: Address) -> bool:
    """Whether a name may lead to an address: it is public and nobody's own gateway.

    Whoever typed it: a name leads wherever its owner wants next, so a private gateway and one that
    FILLCAST_GATEWAY_OWNERS names are given by their address alone.
    """
    plain = leads_to(address)
    return is_public(plain) and not _owners_of(plain)


def check_addresses(
    addresses: Iterable[Address], host: str, *, field: str, username: str = ""
) -> None:
    """Raise InvalidInputError HOST_NOT_ALLOWED if any of these must not be called for this user."""
    for address in addresses:
        plain = leads_to(address)
        if not is_public(plain) and not _is_operator_network(plain):
            raise _refused(host, field)
        if (owners := _owners_of(plain)) and username not in owners:
            raise InvalidInputError(
                Code.HOST_NOT_ALLOWED,
                f"{host!r} is another user's gateway (FILLCAST_GATEWAY_OWNERS). Ask operators to "
                "name you, or connect a gateway of your own.",
                field=field,
            )


def _is_operator_network(plain: Address) -> bool:
    return any(plain in network for network in settings.FILLCAST_BROKER_NETWORKS)


def _owners_of(plain: Address) -> set[str]:
    """Who alone may have accounts at an address; nobody: it is open to all."""
    lines = [own for own in settings.FILLCAST_GATEWAY_OWNERS if plain in own.network]
    closest = max((own.network.prefixlen for own in lines), default=0)
    return {own.username for own in lines if own.network.prefixlen == closest}


def _host_of(text: str) -> str:
    if "//" in text:
        return (urlsplit(text).hostname or "").rstrip(".").lower()
    if text.startswith("["):
        return text[1:].split("]")[0].lower()
    head = text.split("/")[0]
    return (head if head.count(":") > 1 else head.split(":")[0]).rstrip(".").lower()


def _address(host: str) -> Address | None:
    return safe_connect.typed_address(host.split("%")[0])


def _is_private_name(host: str) -> bool:
    """A name without a dot, or under a zone that only an own network has. Such a name may be
    allowed by its address only."""
    return "." not in host or host.rsplit(".", 1)[-1] in _PRIVATE_ZONES


def _refused(host: str, field: str) -> InvalidInputError:
    return InvalidInputError(
        Code.HOST_NOT_ALLOWED,
        f"{host!r} lies in a network that the operators have not allowed "
        "(FILLCAST_BROKER_NETWORKS names the allowed ones).",
        field=field,
    )
