"""What the values of operational settings may be: read from JSON strictly, written back exactly."""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from common.quota_kinds import QUOTAS, setting_name
from common.spellings import one_spelling

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
MOST_TEXTS, LONGEST_KIND, LONGEST_TITLE, LONGEST_BODY = 100, 40, 200, 4_000


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of value.

    expected: the end of "expected …". read: from JSON; raises ValueError or TypeError. write: to
    JSON. choices: of a value that is one of few.
    """

    expected: str
    read: Callable[[Any], Any]
    write: Callable[[Any], Any] = lambda value: value
    choices: tuple[str, ...] = ()
    is_list: bool = False
    is_switch: bool = False


def _decimal(value: Any) -> Decimal:
    """Return a JSON number, or a text of one, as it is written. Raises ValueError, TypeError."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise TypeError(value)
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,20}(\.[0-9]{1,18})?", value, re.ASCII):
        raise ValueError(value)
    try:
        found = Decimal(value)
    except InvalidOperation:
        raise ValueError(value) from None
    if not found.is_finite():
        raise ValueError(value)
    return found


def _as_json(value: Decimal) -> int | str:
    """Return a number as JSON keeps it exactly: a whole one as a number, another one as text."""
    return int(value) if value == value.to_integral_value() else f"{value.normalize():f}"


def whole(lowest: int, highest: int) -> Kind:
    """A whole number; both limits are allowed."""

    def read(value: Any) -> int:
        found = _decimal(value)
        if not lowest <= found <= highest or found != found.to_integral_value():
            raise ValueError(value)
        return int(found)

    return Kind(f"a whole number from {lowest} to {highest}", read)


def number(lowest: str, highest: str) -> Kind:
    """A decimal; both limits are allowed."""

    def read(value: Any) -> Decimal:
        found = _decimal(value)
        if not Decimal(lowest) <= found <= Decimal(highest):
            raise ValueError(value)
        return found

    return Kind(f"a number from {lowest} to {highest}", read, _as_json)


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(value)
    return value


SWITCH = Kind("true or false", _switch, is_switch=True)


def one_of(*names: str) -> Kind:
    """One of these names, in any case; kept as it is written here."""
    known = {name.lower(): name for name in names}

    def read(value: Any) -> str:
        if not isinstance(value, str) or value.lower() not in known:
            raise ValueError(value)
        return known[value.lower()]

    return Kind("one of " + ", ".join(names), read, choices=names)


def text(expected: str, pattern: str) -> Kind:
    """A text that matches `pattern` as a whole."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError(value)
        return value

    return Kind(expected, read)


def optional(inner: Kind) -> Kind:
    """The same, or null."""
    return Kind(
        f"{inner.expected}, or null",
        lambda value: None if value is None else inner.read(value),
        lambda value: None if value is None else inner.write(value),
        choices=inner.choices,
        is_switch=inner.is_switch,
    )


def list_of(inner: Kind, *, most: int = 500) -> Kind:
    """A list without repetitions, as a tuple. A single text counts as a list of one."""

    def read(value: Any) -> tuple[Any, ...]:
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list) or len(items) > most:
            raise ValueError(value)
        found = tuple(inner.read(item) for item in items)
        if len({*found}) != len(found):
            raise ValueError(value)
        return found

    return Kind(
        f"a list without repetitions, each {inner.expected}",
        read,
        lambda value: [inner.write(item) for item in value],
        choices=inner.choices,
        is_list=True,
    )


@dataclass(frozen=True, slots=True)
class OwnedNetwork:
    """Addresses at which only one user may connect accounts."""

    network: IPNetwork
    username: str


def _network(value: Any) -> IPNetwork:
    if not isinstance(value, str):
        raise TypeError(value)
    return ipaddress.ip_network(value)


def _owned_network(value: Any) -> OwnedNetwork:
    network, _, username = (part.strip() for part in str(value).partition("="))
    # A comment after the value would become part of the name, and no user has such a name.
    if not isinstance(value, str) or not username or re.search(r"[\s#]", username):
        raise ValueError(value)
    return OwnedNetwork(ipaddress.ip_network(network), one_spelling(username))


NETWORK = Kind("a network such as 10.0.0.0/8", _network, str)
OWNED_NETWORK = Kind(
    "a network and a user such as 10.0.0.5=alice",
    _owned_network,
    lambda own: f"{own.network}={own.username}",
)


def days(fewest: int) -> Kind:
    """A number of days, or "never": None."""

    def read(value: Any) -> int | None:
        if isinstance(value, str) and value.lower() == "never":
            return None
        found = _decimal(value)
        if not fewest <= found <= 99_999 or found != found.to_integral_value():
            raise ValueError(value)
        return int(found)

    return Kind(
        f'"never", or a number of days from {fewest} to 99999',
        read,
        lambda value: "never" if value is None else value,
    )


def _quotas(value: Any) -> Mapping[str, int]:
    """Read kinds, with spaces or hyphens, and how many rows each may have."""
    if not isinstance(value, dict):
        raise TypeError(value)
    known = {setting_name(kind): kind for kind in QUOTAS}
    most = whole(0, 999_999_999)
    found: dict[str, int] = {}
    for name, count in value.items():
        kind = known.get(setting_name(name))
        if kind is None or kind in found:
            raise ValueError(name)
        found[kind] = most.read(count)
    return found


QUOTA_NUMBERS = Kind(
    'an object of kinds of docs/api.md and numbers such as {"presets": 400}', _quotas, dict
)


class MessageText(NamedTuple):
    """The text of a kind of message: one line of title, several lines of body."""

    title: str
    body: str


def _texts(value: Any) -> Mapping[str, MessageText]:
    """Read texts by kind of message. Their placeholders are checked when a version is stored."""
    if not isinstance(value, dict) or len(value) > MOST_TEXTS:
        raise TypeError(value)
    found: dict[str, MessageText] = {}
    for kind, given in value.items():
        if not isinstance(given, dict) or set(given) != {"title", "body"}:
            raise ValueError(kind)
        title, body = given["title"], given["body"]
        if not isinstance(title, str) or not isinstance(body, str):
            raise TypeError(kind)
        if len(kind) > LONGEST_KIND or "\0" in f"{title}{body}":
            raise ValueError(kind)
        if not title.strip() or len(title) > LONGEST_TITLE or len(body) > LONGEST_BODY:
            raise ValueError(kind)
        found[kind] = MessageText(title, body)
    return found


MESSAGE_TEXTS = Kind(
    'an object of event kinds, each such as {"title": "{trade} is filled", "body": ""}; the title'
    f" of 1 to {LONGEST_TITLE} and the body of at most {LONGEST_BODY} characters",
    _texts,
    lambda texts: {kind: text._asdict() for kind, text in texts.items()},
)
