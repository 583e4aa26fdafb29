"""Read the keys of commands and objects as fields of ours, by the table `fields.toml`. Pure."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from alerts.grammar.mapping import AlertMapping
from alerts.grammar.reading import (
    SIZING,
    Dialect,
    LevelForm,
    Note,
    Reading,
    refusal,
    require_entry_size,
    unread,
)
from signals.models import Direction
from signals.symbols import read_symbol

TABLE: dict[str, dict[str, Any]] = tomllib.loads(
    (Path(__file__).parent / "fields.toml").read_text("utf-8")
)
OWN = "OWN"
NOTHING = (None, "")
_ONE = re.compile(r"[^\s=;|&,(){}\"']+", re.ASCII)
_FREE_TEXT = re.compile(r"[^=;|&{}\"\n]+")  # of a comment, which may be words
_LEVEL = re.compile(
    r"\b(?:sl|tp|stop(?:[ _-]?loss)?|take[ _-]?profit|target|risk|price|entry)"
    r"(?:_?(?:price|pips|pct))?[ :@]*[0-9]+[.0-9]+",
    re.IGNORECASE,
)
# 1, 0.5, 10%, 50%p, 5x, $100, 100usd
_SIZE = re.compile(
    r"nan|[+-]?\$?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]{1,2})?"
    r"(?:\s?%\s?[a-z]*|x|\$|usd[tc]?|btc|eth|eur|lots?)?|[+-]?\.[0-9]+",
    re.ASCII | re.IGNORECASE,
)


class Command(NamedTuple):
    """What a word does. is_bare: its sender could also mean the end of the other side."""

    action: str
    side: Direction | None = None
    order_type: str = "MARKET"
    is_bare: bool = False


class Value(NamedTuple):
    """What a key states. key: as it was sent."""

    key: str
    value: Any
    unit: str = ""


@dataclass(slots=True)
class Stated:
    """What a command or an object states, by our own fields.

    own: fields of ours as they were sent. notes: what has no effect. shares: keys of sizes by which
    a close could be of a part. mark: behind a key that is shown, `sl=`.
    """

    mark: str = ""
    shares: list[str] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    own: dict[str, Any] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)

    def take(self, name: str) -> Any:
        """Return the value of a field, once; None if it is not stated."""
        found = self.values.pop(name, None)
        return None if found is None else found.value

    def take_all(self, *names: str) -> dict[str, Any]:
        """Return the values of those of these fields that are stated, once."""
        return {name: self.take(name) for name in names if name in self.values}

    def refuse_rest(self) -> None:
        """Raise InvalidInputError for a field that has not been taken."""
        for one in self.values.values():
            raise unread(f"{one.key}{self.mark}")

    def require_no_size(self, what: str) -> None:
        """Raise ALERT_AMBIGUOUS for a close with a size, which is no share of a position."""
        if self.shares:
            raise refusal(
                "size_of_close",
                field=self.shares[0],
                share=self.shares[0],
                mark=self.mark,
                what=what,
            )


@dataclass(slots=True)
class Order:
    """A command, taken apart. word: as its sender wrote it."""

    dialect: Dialect
    word: str
    command: Command
    symbol: str
    stated: Stated
    mapping: AlertMapping

    def __post_init__(self) -> None:
        self.symbol = self.mapping.symbol_of(self.symbol)

    @property
    def pair(self) -> str:
        return read_symbol(self.symbol)

    def reading(self, document: Mapping[str, Any], **more: Any) -> Reading:
        """Return what was read. Raises InvalidInputError for what is left."""
        note = self.stated.take("note")
        self.stated.refuse_rest()
        return Reading(
            self.dialect, {**document} | ({"note": note} if note else {}),
            notes=tuple(self.stated.notes), level_form=LevelForm.PRICE, **more,
        )  # fmt: skip


class Form:
    """A form of commands or objects, as its table has it."""

    def __init__(self, name: str, *, mark: str = "") -> None:
        self._table, self._mark = TABLE[name], mark
        self.write: str = self._table["write"]
        self._fields = {key: text.split() for key, text in self._table["fields"].items()}
        self._ignored: dict[str, str] = self._table.get("ignored", {})
        self._shares, self._scales = self._table.get("shares", ()), self._table.get("scales", ())
        self._values: dict[str, dict[str, str]] = self._table.get("values", {})

    @cached_property
    def commands(self) -> dict[str, Command]:
        """What each word does."""
        return {word: _command(text) for word, text in self._table.get("commands", {}).items()}

    @cached_property
    def refused(self) -> dict[str, str]:
        """What to send instead of words that are known, and cannot be carried out."""
        return {
            word: one["write"] for one in self._table.get("refused", ()) for word in one["words"]
        }

    @cached_property
    def _unclear(self) -> dict[str, dict[str, Any]]:
        return {one["word"]: one for one in self._table.get("unclear", ())}

    def read(self, items: Iterable[tuple[str, Any]]) -> Stated:
        """Return what keys and their values state. Raises InvalidInputError."""
        stated, seen = Stated(self._mark), set[str]()
        for key, value in items:
            if key in seen:
                raise refusal("read", field=key[:60], key=key, mark=self._mark)
            seen.add(key)
            self._add(stated, key, value)
        return stated

    def _add(self, stated: Stated, key: str, value: Any) -> None:
        name, *unit = self._fields.get(key, [""])
        if name == OWN:
            stated.own[key] = value
        elif value in NOTHING:
            return
        elif key in self._shares or key in self._scales:
            require_size(key, str(value))
            stated.shares += [key] if key in self._shares else []
            stated.notes.append(Note(f"{key}{self._mark}", SIZING))
        elif (reason := self._reason(key, value)) is not None:
            stated.notes += [Note(f"{key}{self._mark}", reason)] if reason else []
        elif found := self._unclear.get(_stated(key, value)):
            raise refusal(
                "unclear_value",
                *found["readings"],
                field=key,
                word=found["word"],
                write=found["write"],
            )
        elif name:
            one = Value(key, self._spelled(name, key, value), *unit)
            self._set(stated, name, one)
        elif key in self.refused:
            raise refusal("key_not_carried_out", field=key[:60], key=key, refused=self.refused[key])
        else:
            raise unread(f"{key}{self._mark}", key)

    def _reason(self, key: str, value: Any) -> str | None:
        return self._ignored.get(key, self._ignored.get(_stated(key, value)))

    def _set(self, stated: Stated, name: str, one: Value) -> None:
        other = stated.values.setdefault(name, one)
        if (str(other.value), other.unit) != (str(one.value), one.unit):
            raise refusal("key_twice", field=one.key, key=other.key, mark=self._mark, key_2=one.key)

    def _spelled(self, name: str, key: str, value: Any) -> Any:
        spellings = self._values.get(name)
        if spellings is None:
            return value
        found = spellings.get(str(value).strip().lower())
        if found is None:
            raise refusal(
                "unknown_value",
                field=key[:60],
                value=str(value),
                shown=", ".join(spellings),
                write=self.write,
            )
        return found

    def options(self, parts: Iterable[str]) -> list[tuple[str, str]]:
        """Return name and value of each `name=value`. Raises InvalidInputError for one that may
        hold a second option."""
        found = []
        for part in parts:
            name, equals, value = part.partition("=")
            name, value = name.strip().lower(), value.strip().strip('"')
            if not equals or not value:
                raise refusal("no_option", part=part, write=self.write)
            _require_one_value(name, value, f"{self._table['gap']} {self.write}")
            found.append((name, value))
        return found


def _stated(key: str, value: Any) -> str:
    return f"{key}={str(value).lower()}"


def _command(text: str) -> Command:
    action, *words = text.split()
    side = next((Direction(word) for word in words if word in Direction.values), None)
    kinds = [word for word in words if word in ("LIMIT", "STOP")]
    return Command(action, side, kinds[0] if kinds else "MARKET", "BARE" in words)


def require_size(name: str, value: str) -> None:
    """Raise InvalidInputError for a size that is no number, with or without a unit, and for one
    that is no entry's. `risk=1 sl=30` is what remains of two options without a comma: read as a
    size, it would lose the stop."""
    if not _SIZE.fullmatch(value):
        raise refusal("size_is_no_number", field=name[:60], shown=f"{name}={value}", key=name)
    require_entry_size(name, value)


def _require_one_value(name: str, value: str, write: str) -> None:
    is_free = name == "comment"
    if not (_FREE_TEXT if is_free else _ONE).fullmatch(value):
        raise refusal("several_options", field=name[:60], shown=f"{name}={value}", write=write)
    if is_free and (level := _LEVEL.search(value)):
        raise refusal("level_in_comment", field=name, level=level[0])
