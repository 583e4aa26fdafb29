"""What a setting's text may be: each kind reads a text or says in words what it expected."""

import base64
import binascii
import datetime as dt
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from common.faults import Fault

T = TypeVar("T")
U = TypeVar("U")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A way to read a text. `read` raises ValueError for what does not fit `expected`."""

    expected: str
    read: Callable[[str], T]


def optional(kind: Kind[T]) -> Kind[T | None]:
    """Read the empty text as None, everything else as `kind`."""
    return Kind(f"{kind.expected}, or nothing", lambda text: kind.read(text) if text else None)


def comma_list(kind: Kind[T]) -> Kind[tuple[T, ...]]:
    """Read parts between commas; the empty text has none."""

    def read(text: str) -> tuple[T, ...]:
        return tuple(kind.read(part.strip()) for part in text.split(",") if part.strip())

    return Kind(f"a list with commas, each {kind.expected}", read)


def text(expected: str = "a text", pattern: str = ".*", *, least: int = 0) -> Kind[str]:
    """Read a text that matches `pattern` as a whole and has at least `least` characters."""

    def read(value: str) -> str:
        if len(value) < least or not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError(value)
        return value

    return Kind(expected, read)


def whole(lowest: int, highest: int) -> Kind[int]:
    """Read a whole number within limits that are part of the range."""

    def read(value: str) -> int:
        if (
            not re.fullmatch(r"-?[0-9]{1,12}", value, re.ASCII)
            or not lowest <= int(value) <= highest
        ):
            raise ValueError(value)
        return int(value)

    return Kind(f"a whole number from {lowest} to {highest}", read)


def decimal(lowest: str, highest: str) -> Kind[Decimal]:
    """Read a decimal number within limits; no exponent, NaN or infinity."""

    def read(value: str) -> Decimal:
        if not re.fullmatch(r"-?[0-9]{1,20}(\.[0-9]{1,18})?", value, re.ASCII):
            raise ValueError(value)
        try:
            number = Decimal(value)
        except InvalidOperation as e:
            raise ValueError(value) from e
        if not Decimal(lowest) <= number <= Decimal(highest):
            raise ValueError(value)
        return number

    return Kind(f"a number from {lowest} to {highest}", read)


def choice(*names: str) -> Kind[str]:
    """Read one of a few words."""

    def read(value: str) -> str:
        if value not in names:
            raise ValueError(value)
        return value

    return Kind("one of " + ", ".join(names), read)


def yes_or_no() -> Kind[bool]:
    """Read yes or no; also true/false and 1/0, as other tools write them."""
    words = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}

    def read(value: str) -> bool:
        if value.lower() not in words:
            raise ValueError(value)
        return words[value.lower()]

    return Kind("yes or no", read)


def url(*schemes: str) -> Kind[str]:
    """Read a URL with one of `schemes` and a host."""

    def read(value: str) -> str:
        parts = urlsplit(value)
        _ = parts.port  # raises ValueError for a port that is no number
        if parts.scheme not in schemes or not (parts.hostname or parts.path.strip("/")):
            raise ValueError(value)
        return value

    return Kind("a URL that begins with " + " or ".join(f"{name}://" for name in schemes), read)


def network() -> Kind[Network]:
    """Read an IP network such as 10.0.0.0/8; a single address is a network of one."""
    return Kind("a network such as 10.0.0.0/8", ipaddress.ip_network)


@dataclass(frozen=True, slots=True)
class OwnedNetwork:
    """Addresses that only one user's accounts may be connected at."""

    network: Network
    username: str


def owned_network() -> Kind[OwnedNetwork]:
    """Read 10.0.0.5=alice: a network (or one address) and the user that it is for. No name has a
    blank or a #: a comment behind the value on its line would name an owner whom nobody is."""

    def read(value: str) -> OwnedNetwork:
        network, _, username = (part.strip() for part in value.partition("="))
        if not username or re.search(r"[\s#]", username):
            raise ValueError(value)
        return OwnedNetwork(ipaddress.ip_network(network), username)

    said = "a network and a user such as 10.0.0.5=alice, with no comment (#) or blank behind it"
    return Kind(said, read)


def key32() -> Kind[bytes]:
    """Read a key of 32 bytes in base64."""

    def read(value: str) -> bytes:
        try:
            key = base64.b64decode(value, validate=True)
        except binascii.Error as e:
            raise ValueError(value) from e
        if len(key) != 32:
            raise ValueError(value)
        return key

    return Kind("a key of 32 bytes in base64", read)


@dataclass(frozen=True, slots=True)
class MarketClock:
    """Where the market clock stands and how fast it goes.

    It shows `start` at the machine's unix time `anchor` and runs `speed` times as fast from there.
    """

    start: dt.datetime
    anchor: Decimal
    speed: Decimal


def market_clock() -> Kind[MarketClock]:
    """Read 2014-05-02T12:25:00Z@1767225600x60: market time, unix seconds of its start, speed."""
    pattern = re.compile(
        r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)@(\d{1,12}(?:\.\d{1,6})?)x(\d{1,5}(?:\.\d{1,3})?)",
        re.ASCII,
    )

    def read(value: str) -> MarketClock:
        if not (found := pattern.fullmatch(value)) or Decimal(found[3]) <= 0:
            raise ValueError(value)
        return MarketClock(
            start=dt.datetime.fromisoformat(found[1]),
            anchor=Decimal(found[2]),
            speed=Decimal(found[3]),
        )

    return Kind(
        "a start, its unix time and a speed, such as 2014-05-02T12:25:00Z@1767225600x60", read
    )


def fault() -> Kind[Fault]:
    """Read claim.committed:kill:2: a named point, what happens there, at which of its hits."""
    return Kind("a fault such as claim.committed:kill:2 (docs/faults.md)", Fault.read)
