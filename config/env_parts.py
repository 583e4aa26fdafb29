"""Settings of several parts in one variable: where to listen, databases, mail, replays."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from brokers.mt5.own_terminal import TerminalEndpoint, read_terminal
from common.clocks import MarketClock, read_market_clock
from common.failpoints import Failpoint
from common.rehearsal import parts_of
from config.env_types import PortNumber, Reader, read_postgres_url, url

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
"""Host names of this machine. Health checks use them, so they are always answered."""


@dataclass(frozen=True, slots=True)
class Listen:
    """What the web process listens on."""

    address: str = "127.0.0.1"
    port: int = 8012

    def __str__(self) -> str:
        shown = f"[{self.address}]" if ":" in self.address else self.address
        return f"{shown}:{self.port}"


def read_listen(value: str) -> Listen:
    """Read address:port, or one of both."""
    if value.isdecimal():
        return Listen(port=PortNumber.read(value))
    try:
        return Listen(str(ipaddress.ip_address(value.removeprefix("[").removesuffix("]"))))
    except ValueError:
        address, _, port = value.rpartition(":")
        plain = address.removeprefix("[").removesuffix("]")
        return Listen(str(ipaddress.ip_address(plain)), PortNumber.read(port))


_SCHEME = "postgresql://"


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """Ways to the database besides DATABASE_URL.

    web, trade: the login of that role. pooler: address of PgBouncer, and parameters for it.
    replica: a streaming replica.
    """

    web: str = ""
    trade: str = ""
    pooler: str = ""
    replica: str = ""

    def __str__(self) -> str:
        return ""  # they have passwords

    def without_trade(self) -> str:
        """Return the setting of a process that must not have the login of workers."""
        kept = {"web": self.web, "pooler": self.pooler, "replica": self.replica}
        kept["pooler"] = self.pooler.removeprefix(_SCHEME)
        return " ".join(f"{name}={value}" for name, value in kept.items() if value)


def read_databases(text: str) -> DatabaseUrls:
    """Read NAME=VALUE parts. Those without a value are left out: a compose file may write them."""
    found: dict[str, str] = {}
    for part in text.split():
        name, sign, value = part.partition("=")
        if not sign or name not in DatabaseUrls.__slots__ or name in found:
            raise ValueError(part)
        found[name] = value and read_postgres_url(
            value if name != "pooler" else f"{_SCHEME}{value}"
        )
    if "@" in found.get("pooler", "") or urlsplit(found.get("pooler", "")).path.strip("/"):
        raise ValueError(text)
    return DatabaseUrls(**found)


def through(pooler: str, database: str) -> str:
    """Return the URL of a database's login by way of a pooler, whose own parameters come first."""
    way, parts = urlsplit(pooler), urlsplit(database)
    who, at, _ = parts.netloc.rpartition("@")
    query = way.query or parts.query
    return parts._replace(netloc=who + at + way.netloc, query=query).geturl()


def _without_parameter(value: str, name: str) -> tuple[str, str]:
    """Return a URL without a parameter, and the parameter's value. Raises ValueError if twice."""
    parts = urlsplit(value)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    values = [given for key, given in pairs if key == name]
    if not values:
        return value, ""
    if len(values) > 1:
        raise ValueError(value)
    kept = urlencode([pair for pair in pairs if pair[0] != name], quote_via=quote)
    return parts._replace(query=kept).geturl(), values[0]


@dataclass(frozen=True, slots=True)
class Mail:
    """server: a URL as django-environ reads it. sender: the address of ?from=, or nothing."""

    server: str = "consolemail://localhost"
    sender: str = ""

    def __str__(self) -> str:
        return self.server


_SENDER = re.compile(r"(?:[^<>@,\r\n]*<[^@\s,<>]+@[^@\s,<>]+>)|[^@\s,<>]+@[^@\s,<>]+")
_MAIL_SERVER = url("consolemail", "smtp", "smtp+tls", "smtp+ssl", "memorymail", "dummymail")


def read_mail(text: str) -> Mail:
    address, mark, query = text.partition("?")
    text = address + mark + query.replace("+", "%2B")  # it is a part of addresses: desk+alerts@…
    server, sender = _without_parameter(text, "from")
    if "from=" in urlsplit(text).query and not _SENDER.fullmatch(sender):
        raise ValueError(text)
    return Mail(_MAIL_SERVER.read(server), sender)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What replays and tests inject."""

    clock: MarketClock | None = None
    failpoints: tuple[Failpoint, ...] = ()

    def __str__(self) -> str:
        return ""


def _rehearsal(text: str) -> Rehearsal:
    parts = parts_of(text)
    clock = read_market_clock(parts["clock"]) if "clock" in parts else None
    points = [one for one in parts.get("failpoints", "").split(",") if one]
    return Rehearsal(clock, tuple(Failpoint.read(one) for one in points))


def _web_address(value: str) -> str:
    parts = urlsplit(value)
    _ = parts.port  # raises ValueError for a port that is not a number
    host = parts.hostname or ""
    if parts.scheme not in ("https", "http") or parts.username is not None:
        raise ValueError(value)
    if not re.fullmatch(r"(\*|(\*\.)?[a-z0-9._-]+|[0-9a-f:.]*:[0-9a-f:.]*)", host, re.ASCII):
        raise ValueError(value)
    return value


def host_pattern(address: str) -> str:
    """Return what Django allows as the host of requests to an address."""
    host = urlsplit(address).hostname or ""
    return f"[{host}]" if ":" in host else host[1:] if host.startswith("*.") else host


def origin(address: str) -> str:
    """Return an address without a path."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"


ListenAddress = Annotated[
    Listen,
    Reader("an address and a port of this machine, or one of both: 127.0.0.1:8012", read_listen),
]
WebAddress = Annotated[str, Reader("a URL such as https://fillcast.example", _web_address)]
Databases = Annotated[
    DatabaseUrls,
    Reader(
        "web=URL, trade=URL, pooler=HOST:PORT, replica=URL, or some of them, with blanks between;"
        " each URL begins with postgresql:// or postgres://",
        read_databases,
    ),
]
MailServer = Annotated[
    Mail,
    Reader(f"{_MAIL_SERVER.expected}, and may end with ?from=fillcast@your.example", read_mail),
]
Mt5Terminal = Annotated[
    TerminalEndpoint,
    Reader(r"NAME=PATH such as alpha=C:\mt5\alpha\terminal64.exe /portable", read_terminal),
]
RehearsalParts = Annotated[
    Rehearsal,
    Reader(
        "clock=START@TIMExSPEED such as 2014-05-02T12:25:00Z@1767225600x60,"
        " failpoints=FAULT,FAULT such as claim.committed:kill:2 (docs/faults.md), or both with a"
        " blank between",
        _rehearsal,
    ),
]
