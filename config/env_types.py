"""What a setting's text may be: each kind reads a text or says in words what it expected."""

import base64
import binascii
import datetime as dt
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from common.failpoints import Failpoint

T = TypeVar("T")
U = TypeVar("U")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class EnvType(Generic[T]):
    """A way to read a text. `read` raises ValueError for what does not fit `expected`."""

    expected: str
    read: Callable[[str], T]


def optional(kind: EnvType[T]) -> EnvType[T | None]:
    """Read the empty text as None, everything else as `kind`."""
    return EnvType(f"{kind.expected}, or nothing", lambda text: kind.read(text) if text else None)


def comma_list(kind: EnvType[T]) -> EnvType[tuple[T, ...]]:
    """Read parts between commas; the empty text has none."""

    def read(text: str) -> tuple[T, ...]:
        return tuple(kind.read(part.strip()) for part in text.split(",") if part.strip())

    return EnvType(f"a list with commas, each {kind.expected}", read)


def text(expected: str = "a text", pattern: str = ".*", *, least: int = 0) -> EnvType[str]:
    """Read a text that matches `pattern` as a whole and has at least `least` characters."""

    def read(value: str) -> str:
        if len(value) < least or not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError(value)
        return value

    return EnvType(expected, read)


def whole_number(lowest: int, highest: int) -> EnvType[int]:
    """Read a whole number within limits that are part of the range."""

    def read(value: str) -> int:
        if (
            not re.fullmatch(r"-?[0-9]{1,12}", value, re.ASCII)
            or not lowest <= int(value) <= highest
        ):
            raise ValueError(value)
        return int(value)

    return EnvType(f"a whole number from {lowest} to {highest}", read)


def decimal(lowest: str, highest: str) -> EnvType[Decimal]:
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

    return EnvType(f"a number from {lowest} to {highest}", read)


def choice(*names: str) -> EnvType[str]:
    """Read one of a few words."""

    def read(value: str) -> str:
        if value not in names:
            raise ValueError(value)
        return value

    return EnvType("one of " + ", ".join(names), read)


def yes_or_no() -> EnvType[bool]:
    """Read yes or no; also true/false and 1/0, as other tools write them."""
    words = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}

    def read(value: str) -> bool:
        if value.lower() not in words:
            raise ValueError(value)
        return words[value.lower()]

    return EnvType("yes or no", read)


def url(*schemes: str) -> EnvType[str]:
    """Read a URL with one of `schemes` and a host."""

    def read(value: str) -> str:
        parts = urlsplit(value)
        _ = parts.port  # raises ValueError for a port that is no number
        if parts.scheme not in schemes or not (parts.hostname or parts.path.strip("/")):
            raise ValueError(value)
        return value

    return EnvType("a URL that begins with " + " or ".join(f"{name}://" for name in schemes), read)


def network() -> EnvType[Network]:
    """Read an IP network such as 10.0.0.0/8; a single address is a network of one."""
    return EnvType("a network such as 10.0.0.0/8", ipaddress.ip_network)


@dataclass(frozen=True, slots=True)
class OwnedNetwork:
    """Addresses that only one user's accounts may be connected at."""

    network: Network
    username: str


def owned_network() -> EnvType[OwnedNetwork]:
    """Read 10.0.0.5=alice: a network (or one address) and the user that it is for. No name has a
    blank or a #: a comment behind the value on its line would name an owner whom nobody is."""

    def read(value: str) -> OwnedNetwork:
        network, _, username = (part.strip() for part in value.partition("="))
        if not username or re.search(r"[\s#]", username):
            raise ValueError(value)
        return OwnedNetwork(ipaddress.ip_network(network), username)

    said = "a network and a user such as 10.0.0.5=alice, with no comment (#) or blank behind it"
    return EnvType(said, read)


def key32() -> EnvType[bytes]:
    """Read a key of 32 bytes in base64."""

    def read(value: str) -> bytes:
        try:
            key = base64.b64decode(value, validate=True)
        except binascii.Error as e:
            raise ValueError(value) from e
        if len(key) != 32:
            raise ValueError(value)
        return key

    return EnvType("a key of 32 bytes in base64", read)


@dataclass(frozen=True, slots=True)
class MarketClock:
    """Where the market clock stands and how fast it goes.

    It shows `start` at the machine's unix time `anchor` and runs `speed` times as fast from there.
    """

    start: dt.datetime
    anchor: Decimal
    speed: Decimal


def market_clock() -> EnvType[MarketClock]:
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

    return EnvType(
        "a start, its unix time and a speed, such as 2014-05-02T12:25:00Z@1767225600x60", read
    )


def failpoint() -> EnvType[Failpoint]:
    """Read claim.committed:kill:2: a named point, what happens there, at which of its hits."""
    return EnvType("a fault such as claim.committed:kill:2 (docs/faults.md)", Failpoint.read)


ENV_NAME = "FILLCAST_ENV"


class InvalidEnvironmentError(Exception):
    """Settings that are missing or malformed; its text has a sentence for each."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n  ".join(["Fillcast cannot start with these settings:", *faults]))


@dataclass(frozen=True, slots=True, eq=False)
class Setting(Generic[T]):
    """One setting. `default` is a text as it would stand in the environment, read by `kind`."""

    section: str
    name: str
    kind: EnvType[T]
    default: str
    sentence: str
    required: bool  # in production; development has the default or makes its own
    secret: bool  # its value is never shown, not even in an error

    def read(self, environ: Mapping[str, str], *, production: bool) -> T:
        """Return the value. Raises ValueError with a sentence that names the variable."""
        found = environ.get(self.name, "").strip()
        if not found and self.required and production:
            wanted = self.kind.expected.split(", or nothing")[0]
            raise ValueError(f"{self.name} is not set; production needs {wanted}. {self.sentence}")
        try:
            return self.kind.read(found or self.default)
        except ValueError:
            shown = f"a text of {len(found)} characters (not shown)" if self.secret else repr(found)
            raise ValueError(f"{self.name} is {shown}; expected {self.kind.expected}.") from None


class Table:
    """All settings in the order in which they are declared."""

    def __init__(self) -> None:
        self.settings: list[Setting[Any]] = []

    def section(self, title: str) -> "Section":
        """Return a maker of settings that stand under `title`."""
        return Section(self, title)

    def read(self, environ: Mapping[str, str]) -> dict[str, Any]:
        """Return every setting's value by name. Raises InvalidEnvironmentError with all faults."""
        faults: list[str] = []
        values: dict[str, Any] = {}
        production = environ.get(ENV_NAME, "").strip() == "production"
        for setting in self.settings:
            try:
                values[setting.name] = setting.read(environ, production=production)
            except ValueError as e:
                faults.append(str(e))
        if faults:
            raise InvalidEnvironmentError(faults)
        return values


@dataclass(frozen=True, slots=True)
class Section:
    """Declares settings under one title."""

    table: Table
    title: str

    def __call__(
        self,
        name: str,
        kind: EnvType[T],
        default: str,
        sentence: str,
        *,
        required: bool = False,
        secret: bool = False,
    ) -> Setting[T]:
        """Declare a setting; see Setting for the arguments."""
        setting = Setting(self.title, name, kind, default, sentence, required, secret)
        self.table.settings.append(setting)
        return setting
