"""What a dialect makes of an alert: an object in our own fields, or a change of an open trade."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import cache
from itertools import chain
from pathlib import Path
from string import Formatter
from typing import Any

from common.errors import InvalidInputError
from common.money import plain
from common.reason_codes import Code
from signals.models import Direction
from signals.reading.draft import Target

ONE = Decimal(1)


class Dialect(StrEnum):
    """The forms in which people send alerts; the value is shown to them."""

    OWN = "Fillcast JSON"
    ORDER_OBJECT = "ticker/action object"
    STRATEGY_OBJECT = "strategy object"
    MAPPED = "JSON by the feed's mapping"
    STRATEGY_SENTENCE = "TradingView strategy sentence"
    COMMA_COMMAND = "comma command (PineConnector)"
    KEY_VALUE = "key=value (AutoView)"
    COMMAND_BLOCK = "command block (Alertatron)"
    TEXT = "text signal"
    TEXT_UPDATE = "text update"


class Unit(StrEnum):
    """The unit of a level that is written as a distance from the entry."""

    PIPS = "PIPS"
    PERCENT = "PERCENT"


class LevelForm(StrEnum):
    """How a dialect writes levels.

    NUMBER: as a text does. FIELD: in our own fields, which are prices, though senders paste the
    distances of another service. PRICE: named a price. COUNTED: from its own price.
    """

    NUMBER = "NUMBER"
    FIELD = "FIELD"
    PRICE = "PRICE"
    COUNTED = "COUNTED"


@dataclass(frozen=True, slots=True)
class Note:
    """A part of an alert that was understood and has no effect, and why.

    explains: it has one, and the reason says how it was understood.
    """

    text: str
    reason: str
    explains: bool = False


@dataclass(frozen=True, slots=True)
class Distance:
    """A stop or target at a distance from the entry price. level: sl or tp."""

    level: str
    value: Decimal
    unit: Unit


@dataclass(frozen=True, slots=True)
class AlertUpdate:
    """A change of the one trade that a feed has open: of a symbol, of a side, or at all.

    pair: '' if no symbol is named. sl_to_entry: the stop moves to the signal's own entry price.
    fraction: of the trade that is closed; None: nothing. cancels: it ends an entry that waits.
    """

    pair: str = ""
    side: Direction | None = None
    sl: Decimal | None = None
    sl_to_entry: bool = False
    targets: tuple[Target, ...] = ()
    fraction: Decimal | None = None
    cancels: bool = False
    sl_verb: str = ""
    target_verb: str = ""
    sent_at: datetime | None = None
    key: str = ""
    dialect: Dialect = Dialect.TEXT_UPDATE
    notes: tuple[Note, ...] = ()

    @property
    def prices(self) -> tuple[Decimal, ...]:
        """The new levels."""
        stop = () if self.sl is None else (self.sl,)
        return (*stop, *(target.price for target in self.targets))


@dataclass(frozen=True, slots=True)
class Reading:
    """An alert as a dialect reads it.

    document: in the fields of our own JSON. update: instead of it. distances: levels to add when
    the entry price is known. may_end: a buy that a sender could also mean as the end of a short
    trade, or a sell as that of a long one, so it is refused while the feed has one open.
    levels_alone: a text with levels, and neither a price nor “now”. needs_time: as strategies in
    our own JSON.
    """

    dialect: Dialect
    document: Mapping[str, Any] = field(default_factory=dict)
    update: AlertUpdate | None = None
    notes: tuple[Note, ...] = ()
    distances: tuple[Distance, ...] = ()
    may_end: bool = False
    levels_alone: bool = False
    needs_time: bool = True
    level_form: LevelForm = LevelForm.NUMBER


REFUSALS: dict[str, Any] = tomllib.loads(
    (Path(__file__).parent / "refusals.toml").read_text("utf-8")
)


class _Shown(Formatter):
    """Write numbers in full, and what was sent (`!r`) in quotation marks."""

    def convert_field(self, value: Any, conversion: str | None) -> Any:
        return excerpt(str(value)) if conversion else value

    def format_field(self, value: Any, format_spec: str) -> str:
        is_number = isinstance(value, Decimal) and not format_spec
        return plain(value) if is_number else str(super().format_field(value, format_spec))


def refusal(name: str, /, *others: str, field: str = "", **words: Any) -> InvalidInputError:
    """Return the error of this name in `refusals.toml`: what is wrong or what several things it
    could mean, and the nearest line that is read. others: readings in the place of its `*`."""
    return _error(REFUSALS[name], others, field, words)


def refused_by(name: str, text: str) -> InvalidInputError | None:
    """Return the error of the first entry of this list in `refusals.toml` whose pattern is in a
    text, with the groups of the pattern; None if there is none."""
    for pattern, found in _patterns(name):
        if match := pattern.search(text):
            return _error(found, (), "", {"text": text, **match.groupdict()})
    return None


@cache
def _patterns(name: str) -> list[tuple[re.Pattern[str], Mapping[str, Any]]]:
    flags = re.ASCII | re.IGNORECASE
    return [(re.compile(one["pattern"], flags), one) for one in REFUSALS[name]]


def _error(
    found: Mapping[str, Any], others: Sequence[str], field: str, words: Mapping[str, Any]
) -> InvalidInputError:
    words = REFUSALS["lines"] | words

    def shown(text: str) -> str:
        return _Shown().vformat(text, (), words)

    code, detail = Code(found.get("code", "ALERT_NOT_UNDERSTOOD")), shown(found["subject"])
    if "readings" in found:
        readings = (others if one == "*" else (shown(one),) for one in found["readings"])
        code = Code.ALERT_AMBIGUOUS
        detail += f" could mean {', or '.join(chain.from_iterable(readings))}."
    detail = f"{detail} {shown(found.get('write', ''))}".rstrip()
    return InvalidInputError(code, detail, field=field or found.get("field", ""))


def excerpt(text: str) -> str:
    """Return a text in quotation marks, cut and without characters that cannot be seen."""
    shown = "".join(letter if letter.isprintable() else f"<U+{ord(letter):04X}>" for letter in text)
    return repr(shown if len(shown) <= 40 else shown[:40] + "…")


# Parts that change an order: without them it would be another one.
_CHANGING = re.compile(
    r"test|dry.?run|paper|simul|demo|clos|reduce|exit|cancel|disab|enab|ignor|skip|inver|revers"
    r"|delay|wait|post.?only|trail|stop|sl|tp|limit|profit|loss|trigger|break|cond|expir|valid|force|order.?id",
    re.IGNORECASE,
)


def unread(name: str, field: str = "") -> InvalidInputError:
    """Return the error for a part that is not read: leave it out, or send nothing without it."""
    hint = (
        "and without it this would be another order: do not just leave it out."
        if _CHANGING.search(name)
        else "leave it out."
    )
    joint = ", " if hint.startswith("and") else ": "
    detail = f"{excerpt(name)} cannot be carried out here{joint}{hint}"
    return InvalidInputError(Code.FIELD_UNKNOWN, detail, field=(field or name.rstrip("="))[:60])


SIZING = "the size follows each subscriber's preset"

_NO_SIZE = re.compile(r"-.*|\+?0*(?:\.0*)?\s*%?", re.ASCII)
_PRICE_LIKE = re.compile(r"[0-9]+\.[0-9]{3,}", re.ASCII)
_OF_POSITION = re.compile(r"[0-9.]+\s*%\s*p(?:os(?:ition)?)?", re.ASCII | re.IGNORECASE)


def require_entry_size(name: str, text: str) -> None:
    """Raise InvalidInputError for a size that is no entry's: none, below zero, of a position.

    The size itself has no effect, but such a one says that something else is meant.
    """
    if name == "risk" and _PRICE_LIKE.fullmatch(text):
        raise refusal("risk_or_stop", field=name, text=text)
    if text and (_NO_SIZE.fullmatch(text) or _OF_POSITION.fullmatch(text)):
        raise refusal("size_of_no_entry", field=name, key=name, text=text)
