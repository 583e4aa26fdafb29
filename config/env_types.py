"""Strict parsers for the texts of settings. Each names what it expects, for error messages."""

import base64
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

from common.operational.source import check_source

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Reader:
    """Parses one text; for use in `Annotated`. `read` raises ValueError if it is not `expected`."""

    expected: str
    read: Callable[[str], Any]


def text(expected: str, pattern: str) -> Reader:
    """Read a text that matches `pattern` as a whole."""

    def read(value: str) -> str:
        if not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError(value)
        return value

    return Reader(expected, read)


def whole_number(lowest: int, highest: int) -> Reader:
    """Read an int; both limits are allowed values."""

    def read(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", value, re.ASCII):
            raise ValueError(value)
        if not lowest <= int(value) <= highest:
            raise ValueError(value)
        return int(value)

    return Reader(f"a whole number from {lowest} to {highest}", read)


def choice(*names: str) -> Reader:
    """Read one of `names`."""

    def read(value: str) -> str:
        if value not in names:
            raise ValueError(value)
        return value

    return Reader("one of " + ", ".join(names), read)


def comma_list(part: Reader) -> Reader:
    """Read comma-separated values as a tuple; empty ones are left out."""

    def read(value: str) -> tuple[Any, ...]:
        return tuple(part.read(item.strip()) for item in value.split(",") if item.strip())

    return Reader(f"a list with commas, each {part.expected}", read)


def url(*schemes: str) -> Reader:
    """Read a URL with one of `schemes` and a host (or a path, for a socket)."""

    def read(value: str) -> str:
        parts = urlsplit(value)
        _ = parts.port  # raises ValueError for a port that is not a number
        if parts.scheme not in schemes or not (parts.hostname or parts.path.strip("/")):
            raise ValueError(value)
        return value

    return Reader("a URL that begins with " + " or ".join(f"{name}://" for name in schemes), read)


def _source(value: str) -> str:
    check_source(value)
    return value


def _key(value: str) -> bytes:
    key = base64.b64decode(value, validate=True)
    if len(key) != 32:
        raise ValueError(value)
    return key


def _push_key(length: int) -> Callable[[str], bytes]:
    def read(value: str) -> bytes:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", value, re.ASCII):
            raise ValueError(value)
        key = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
        if len(key) != length or (length == 65 and key[0] != 4):
            raise ValueError(value)
        return key

    return read


BearerToken = Annotated[str, text("16 or more characters without spaces", r"\S{16,}")]
_POSTGRES = url("postgresql", "postgres")
read_postgres_url = _POSTGRES.read
PostgresUrl = Annotated[str, _POSTGRES]
PortNumber = whole_number(1, 65535)
Network = Annotated[IPNetwork, Reader("a network such as 10.0.0.0/8", ipaddress.ip_network)]
SettingsSource = Annotated[
    str, Reader("a JSON file, an https:// URL, or a valid JSON document in braces", _source)
]
Key = Annotated[bytes, Reader("a key of 32 bytes in base64", _key)]
PushPublicKey = Annotated[
    bytes, Reader("a public key that `manage.py vapid_key` made", _push_key(65))
]
PushPrivateKey = Annotated[
    bytes, Reader("a private key that `manage.py vapid_key` made", _push_key(32))
]
SINK_SCHEMES = ("redis+stream", "rediss+stream", "nats", "kafka", "clickhouse")
INCOMING_BUS_SCHEMES = ("nats", "clickhouse")
FROM = "from+"  # before the URL of a bus that is read


def _bus(value: str) -> str:
    schemes = INCOMING_BUS_SCHEMES if value.startswith(FROM) else SINK_SCHEMES
    url(*schemes).read(value.removeprefix(FROM))
    return value


_BUS_EXPECTED = (
    url(*SINK_SCHEMES).expected
    + "; for a bus that is read: "
    + " or ".join(f"{FROM}{name}://" for name in INCOMING_BUS_SCHEMES)
)
BusUrl = Annotated[str, Reader(_BUS_EXPECTED, _bus)]
