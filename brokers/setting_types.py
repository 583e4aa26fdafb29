"""What a setting of each kind may hold: one reader a kind returns the value as it is kept, or says
what to do."""

import re
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from enum import StrEnum
from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brokers.connection_form import Setting

MAX_LENGTH = 1000  # characters of a text
MAX_NAME_LENGTH, MAX_SYMBOL_LENGTH = 60, 40  # a symbol's is what an instrument's row has room for
MAX_NAMES = 2000
FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class SettingType(StrEnum):
    """What a setting holds, and how it is written in JSON."""

    TEXT = "text"
    WHOLE = "whole number"
    NUMBER = "number"
    SWITCH = "switch"  # true, false
    CHOICE = "choice"  # one of the setting's choices
    HOST = "host"  # a name or an address; which may be called is the operators' decision
    FOLDER = "folder"  # the name of a folder right under the operators' root, never a path
    NAMES = "names"  # a list of texts
    TABLE = "table"  # an object: by name what is said of it (a text, a number, an object)
    SYMBOLS = "symbols"  # the broker's symbols: a list, or an object with what is said of each


class InvalidSettingError(Exception):  # an outcome with a name of its own
    """A value that a setting cannot have; the text says what to do."""


def _text(setting: "Setting", value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InvalidSettingError("Write it as a text.")
    text = str(value)
    if len(text) > MAX_LENGTH or not text.isprintable():
        raise InvalidSettingError(f"Write it on one line, with at most {MAX_LENGTH} characters.")
    return text


def _number(setting: "Setting", value: Any) -> int | float:
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
            raise InvalidSettingError
        if isinstance(value, str) and not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value):
            raise InvalidSettingError
        number = float(value)
    except (InvalidSettingError, OverflowError):
        example = "5" if setting.kind is SettingType.WHOLE else "1.5"
        raise InvalidSettingError(f"Write a plain number, such as {example}.") from None
    if not isfinite(number) or not _within(setting, number):
        raise InvalidSettingError(f"Write a number {_bounds(setting.least, setting.most)}.")
    return int(number) if number.is_integer() else number


def _within(setting: "Setting", number: float) -> bool:
    low, high = setting.least, setting.most
    return (low is None or low <= number) and (high is None or number <= high)


def _bounds(low: float | None, high: float | None) -> str:
    least = "" if low is None else f"from {_plain(low)}"
    most = "" if high is None else f"up to {_plain(high)}"
    return f"{least} {most}".strip() or "that is finite"


def _plain(bound: float) -> str:
    return f"{bound:.0f}" if float(bound).is_integer() else f"{bound:g}"


def _whole(setting: "Setting", value: Any) -> int:
    number = _number(setting, value)
    if not isinstance(number, int):
        raise InvalidSettingError("Write a whole number.")
    return number


def _switch(setting: "Setting", value: Any) -> bool:
    words = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise InvalidSettingError("Say true or false.")


def _choice(setting: "Setting", value: Any) -> str:
    allowed = [choice for choice, _ in setting.choices]
    if value not in allowed:
        raise InvalidSettingError(f"Choose one of {', '.join(allowed)}.")
    return str(value)


def _host(setting: "Setting", value: Any) -> str:
    text = _text(setting, value)
    if re.search(r"[\s/@\\?#]", text) or text.count(":") == 1:
        raise InvalidSettingError(
            "Write only the host: a name such as gw.example.com, or an address."
        )
    return text


def _folder(setting: "Setting", value: Any) -> str:
    if not isinstance(value, str) or not FOLDER.fullmatch(value) or ".." in value:
        raise InvalidSettingError(
            "Write only the folder's name; it lies under the operators' root."
        )
    return value


def _names(setting: "Setting", value: Any) -> list[str]:
    told = re.split(r"[,;\n]+", value) if isinstance(value, str) else value
    if not isinstance(told, list | tuple) or not all(isinstance(one, str) for one in told):
        raise InvalidSettingError("Write a list of names.")
    names = list(dict.fromkeys(name for one in told if (name := one.strip())))
    _check_names(names, MAX_NAME_LENGTH)
    return names


def _check_names(names: Collection[str], longest: int) -> None:
    if len(names) > MAX_NAMES or any(len(name) > longest for name in names):
        raise InvalidSettingError(
            f"Write at most {MAX_NAMES} names of at most {longest} characters."
        )
    if wrong := next((name for name in names if not name.isprintable()), ""):
        raise InvalidSettingError(f"{wrong!a} has characters that nobody can see: write it anew.")


def _table(setting: "Setting", value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(_is_line(*one) for one in value.items()):
        raise InvalidSettingError("Write an object: by name what is said of it.")
    _check_names(value, MAX_NAME_LENGTH)
    if wrong := next((name for name, said in value.items() if not _is_plain(said)), ""):
        raise InvalidSettingError(
            f"What is said of {wrong} must be short texts on one line, or plain numbers."
        )
    return dict(value)


def _is_line(name: Any, said: Any) -> bool:
    is_said = isinstance(said, str | int | float | dict) and not isinstance(said, bool)
    return isinstance(name, str) and bool(name) and is_said


def _is_plain(said: Any) -> bool:
    """Whether a database takes it: no text with control characters, no number that is none."""
    if isinstance(said, str):
        return len(said) <= MAX_LENGTH and said.isprintable()
    if isinstance(said, Mapping):
        return all(isinstance(key, str) and _is_plain([key, what]) for key, what in said.items())
    if isinstance(said, list | tuple):
        return all(map(_is_plain, said))
    return said is None or isinstance(said, int) or (isinstance(said, float) and isfinite(said))


def _symbols(setting: "Setting", value: Any) -> list[str] | dict[str, Any]:
    told = _table(setting, value) if isinstance(value, dict) else _names(setting, value)
    _check_names(told, MAX_SYMBOL_LENGTH)
    return told


READERS: Mapping[SettingType, Callable[["Setting", Any], Any]] = {
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
