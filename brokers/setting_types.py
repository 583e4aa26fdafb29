"""The value types of settings. Each has a reader that returns the value to store, or raises an
error that states what to write instead."""

import re
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from enum import StrEnum
from itertools import chain
from math import isfinite
from sys import float_info
from typing import Any, Protocol

MAX_LENGTH = 1000  # characters of a text
MAX_NAME_LENGTH, MAX_SYMBOL_LENGTH = 60, 40  # the symbol column of an instrument has this length
MAX_NAMES = 2000
MAX_LEVELS = 20  # of a value: an object in an object is two
FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class SettingType(StrEnum):
    """The type of a setting's value, and how it is written in JSON."""

    TEXT = "text"
    WHOLE = "whole number"
    NUMBER = "number"
    SWITCH = "switch"  # true, false
    CHOICE = "choice"  # one of the setting's choices
    HOST = "host"  # a name or an address; the operators decide which hosts are allowed
    FOLDER = "folder"  # the name of a folder directly under the operators' root, never a path
    NAMES = "names"  # a list of texts
    TABLE = "table"  # an object: name to value (a text, a number, an object)
    SYMBOLS = "symbols"  # the broker's symbols: a list, or an object of symbol to value


class Limited(Protocol):
    """What a reader asks of a setting."""

    @property
    def value_type(self) -> SettingType:
        """The type of its value."""

    @property
    def choices(self) -> tuple[tuple[str, str], ...]:
        """Value and label of each choice."""

    @property
    def minimum(self) -> float | None:
        """The smallest number that it may be."""

    @property
    def maximum(self) -> float | None:
        """The largest number that it may be."""


class InvalidSettingError(Exception):
    """A value that a setting cannot have; the text states what to write instead."""


def _text(setting: Limited, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InvalidSettingError("Write it as a text.")
    text = str(value)
    if len(text) > MAX_LENGTH or not text.isprintable():
        raise InvalidSettingError(f"Write it on one line, with at most {MAX_LENGTH} characters.")
    return text


def _number(setting: Limited, value: Any) -> int | float:
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
            raise InvalidSettingError
        if isinstance(value, str) and not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value):
            raise InvalidSettingError
        number = float(value)
    except (InvalidSettingError, OverflowError):
        example = "5" if setting.value_type is SettingType.WHOLE else "1.5"
        raise InvalidSettingError(f"Write a plain number, such as {example}.") from None
    if not isfinite(number) or not _within(setting, number):
        raise InvalidSettingError(f"Write a number {_bounds(setting.minimum, setting.maximum)}.")
    return int(number) if number.is_integer() else number


def _within(setting: Limited, number: float) -> bool:
    low, high = setting.minimum, setting.maximum
    return (low is None or low <= number) and (high is None or number <= high)


def _bounds(low: float | None, high: float | None) -> str:
    lower = "" if low is None else f"from {_plain(low)}"
    upper = "" if high is None else f"up to {_plain(high)}"
    return f"{lower} {upper}".strip() or "that is finite"


def _plain(bound: float) -> str:
    return f"{bound:.0f}" if float(bound).is_integer() else f"{bound:g}"


def _whole(setting: Limited, value: Any) -> int:
    number = _number(setting, value)
    if not isinstance(number, int):
        raise InvalidSettingError("Write a whole number.")
    return number


def _switch(setting: Limited, value: Any) -> bool:
    spellings = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in spellings:
        return spellings[value.lower()]
    raise InvalidSettingError("Write true or false.")


def _choice(setting: Limited, value: Any) -> str:
    allowed = [choice for choice, _ in setting.choices]
    if value not in allowed:
        raise InvalidSettingError(f"Choose one of {', '.join(allowed)}.")
    return str(value)


def _host(setting: Limited, value: Any) -> str:
    text = _text(setting, value)
    if re.search(r"[\s/@\\?#]", text) or text.count(":") == 1:
        raise InvalidSettingError(
            "Write only the host: a name such as gw.example.com, or an address."
        )
    return text


def _folder(setting: Limited, value: Any) -> str:
    if not isinstance(value, str) or not FOLDER.fullmatch(value) or ".." in value:
        raise InvalidSettingError("Write only the folder's name; it is under the operators' root.")
    return value


def _names(setting: Limited, value: Any) -> list[str]:
    items = re.split(r"[,;\n]+", value) if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise InvalidSettingError("Write a list of names.")
    names = list(dict.fromkeys(name for item in items if (name := item.strip())))
    _check_names(names, MAX_NAME_LENGTH)
    return names


def _check_names(names: Collection[str], longest: int) -> None:
    if len(names) > MAX_NAMES or any(len(name) > longest for name in names):
        raise InvalidSettingError(
            f"Write at most {MAX_NAMES} names of at most {longest} characters."
        )
    if invalid := next((name for name in names if not name.isprintable()), ""):
        raise InvalidSettingError(f"{invalid!a} has invisible characters: type it again.")


def _table(setting: Limited, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(_is_entry(*entry) for entry in value.items()):
        raise InvalidSettingError("Write an object that has a value for each name.")
    _check_names(value, MAX_NAME_LENGTH)
    if invalid := next((name for name, entry in value.items() if not _is_storable(entry)), ""):
        raise InvalidSettingError(
            f"The value of {invalid} must be short texts on one line, or plain numbers."
        )
    return dict(value)


def _is_entry(name: Any, value: Any) -> bool:
    is_value = isinstance(value, str | int | float | dict) and not isinstance(value, bool)
    return isinstance(name, str) and bool(name) and is_value


def _is_storable(value: Any, levels: int = MAX_LEVELS) -> bool:
    """Whether a JSON column accepts it, and we can read it: no control characters, no NaN, no
    number that is too large for a float, and few levels."""
    if isinstance(value, str):
        return len(value) <= MAX_LENGTH and value.isprintable()
    if isinstance(value, Mapping) and not all(isinstance(key, str) for key in value):
        return False
    if isinstance(value, Mapping | list | tuple):
        inside = chain(value, value.values()) if isinstance(value, Mapping) else value
        return levels > 0 and all(_is_storable(item, levels - 1) for item in inside)
    return value is None or (isinstance(value, int | float) and abs(value) <= float_info.max)


def _symbols(setting: Limited, value: Any) -> list[str] | dict[str, Any]:
    symbols = _table(setting, value) if isinstance(value, dict) else _names(setting, value)
    _check_names(symbols, MAX_SYMBOL_LENGTH)
    return symbols


READERS: Mapping[SettingType, Callable[[Limited, Any], Any]] = {
    SettingType.TEXT: _text,
    SettingType.WHOLE: _whole,
    SettingType.NUMBER: _number,
    SettingType.SWITCH: _switch,
    SettingType.CHOICE: _choice,
    SettingType.HOST: _host,
    SettingType.FOLDER: _folder,
    SettingType.NAMES: _names,
    SettingType.TABLE: _table,
    SettingType.SYMBOLS: _symbols,
}
