"""Which hosts a tenant's connection may name: never our own network unless operators allow it.

A tenant enters the host, and a trading process connects to it. Public addresses are allowed;
private, loopback, link-local and reserved ones only within networks.broker_networks, and only as
addresses. A name may only resolve to public addresses. It is checked when it is entered (without
resolving it), when a test runs, and at each connect (brokers/safe_connect.py).

A gateway without a password (IBKR's) serves every client that reaches it. networks.gateway_owners
names the users of such a gateway, and no other user's accounts may be there. If several of its
lines match an address, the one with the longest prefix applies.
"""

import socket
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from brokers import safe_connect
from common.errors import InvalidInputError
from common.operational.current import settings_now
from common.reason_codes import Code
from common.web.ip_addresses import Address, is_public, leads_to

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
    """Return the hosts that settings name, by key. keys: the broker type's own keys for hosts."""
    all_keys = {*HOST_KEYS, *keys}
    return {key: _host_of(str(values[key])) for key in sorted(all_keys) if values.get(key)}


def check_named(values: Mapping[str, Any], keys: Iterable[str] = (), username: str = "") -> None:
    """Refuse settings that name a host in our own network, or another user's gateway.

    Does not resolve names. Raises InvalidInputError HOST_NOT_ALLOWED; `field` names the key.
    """
    for key, host in hosts_in(values, keys).items():
        address = _address(host)
        if address is not None:
            check_addresses([address], host, field=f"settings.{key}", username=username)
        elif not host or _is_private_name(host):
            raise _refused(host, f"settings.{key}")


def check_resolved(values: Mapping[str, Any], keys: Iterable[str] = (), username: str = "") -> None:
    """Refuse settings whose hosts are in, or resolve into, our own network or another's gateway.

    Resolves names: call it outside of any transaction. Each connect checks the address again
    (brokers/safe_connect.py); this reports it earlier. Raises InvalidInputError HOST_NOT_ALLOWED.
    """
    for key, host in hosts_in(values, keys).items():
        field = f"settings.{key}"
        if (address := _address(host)) is not None:
            check_addresses([address], host, field=field, username=username)
            continue
        try:
            resolved = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            continue  # the adapter will report that the host cannot be reached
        if not all(may_resolve_to(each) for each in safe_connect.addresses_in(resolved)):
            raise InvalidInputError(
                Code.HOST_NOT_ALLOWED, safe_connect.refusal_reason(host), field=field
            )


def hosts_outside_operator_networks(
    values: Mapping[str, Any], keys: Iterable[str] = ()
) -> list[str]:
    """Return the hosts that settings name outside of networks.broker_networks, in one spelling."""
    named = [(_address(host), host) for host in hosts_in(values, keys).values()]
    return [
        host if address is None else str(leads_to(address))
        for address, host in named
        if address is None or not _is_operator_network(leads_to(address))
    ]


def may_resolve_to(address: Address) -> bool:
    """Return whether a name may resolve to an address: a public one that is no user's gateway.

    This holds for all users. The owner of a name can change its address at any time, so private
    gateways, and those in networks.gateway_owners, must be entered as addresses.
    """
    plain = leads_to(address)
    return is_public(plain) and not _owners_of(plain)


def check_addresses(
    addresses: Iterable[Address], host: str, *, field: str, username: str = ""
) -> None:
    """Raise InvalidInputError HOST_NOT_ALLOWED if this user may not use one of the addresses."""
    for address in addresses:
        plain = leads_to(address)
        if not is_public(plain) and not _is_operator_network(plain):
            raise _refused(host, field)
        if (owners := _owners_of(plain)) and username not in owners:
            raise InvalidInputError(
                Code.HOST_NOT_ALLOWED,
                f"{host!r} is another user's gateway (networks.gateway_owners). Ask operators to "
                "name you, or connect a gateway of your own.",
                field=field,
            )


def _is_operator_network(plain: Address) -> bool:
    return any(plain in network for network in settings_now().networks.broker_networks)


def _owners_of(plain: Address) -> set[str]:
    """Return the users that alone may use an address; an empty set: all users may."""
    lines = [own for own in settings_now().networks.gateway_owners if plain in own.network]
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
    """Return whether a name belongs to a private network: it has no dot, or a private zone.

    Such a host can only be allowed by its address.
    """
    return "." not in host or host.rsplit(".", 1)[-1] in _PRIVATE_ZONES


def _refused(host: str, field: str) -> InvalidInputError:
    return InvalidInputError(
        Code.HOST_NOT_ALLOWED,
        f"{host!r} is in a network that the operators have not allowed "
        "(networks.broker_networks names the allowed ones).",
        field=field,
    )
