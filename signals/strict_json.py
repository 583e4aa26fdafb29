"""JSON from outside, read so that nothing is guessed: numbers keep their text, twins are seen."""

import json
from collections.abc import Iterator
from typing import Any

from common.errors import InvalidInputError
from common.reason_codes import Code

MAX_BYTES = 16 * 1024


class NumberText(str):
    """A JSON number as it was written. Never a float, not even for a moment; NaN keeps its name."""

    __slots__ = ()


class JsonObject(dict[str, Any]):
    """A JSON object that remembers which of its keys stood twice."""

    duplicates: tuple[str, ...] = ()


def _object(pairs: list[tuple[str, Any]]) -> JsonObject:
    made = JsonObject(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        made.duplicates = tuple(name for name in made if names.count(name) > 1)
    return made


def parse(data: bytes, *, max_bytes: int = MAX_BYTES) -> Any:
    """Return what the JSON text says: JsonObject, list, str, NumberText, bool or None.

    Raises InvalidInputError BODY_TOO_LARGE, BODY_NOT_JSON. A key that stands twice is not refused
    here but remembered, so that of a list's entries only the one that has it is at fault.
    """
    if len(data) > max_bytes:
        raise InvalidInputError(
            Code.BODY_TOO_LARGE,
            f"{len(data)} bytes are more than the {max_bytes} that are read here.",
            current=len(data),
            maximum=max_bytes,
        )
    try:
        return json.loads(
            data.decode("utf-8"),
            parse_float=NumberText,
            parse_int=NumberText,
            parse_constant=NumberText,
            object_pairs_hook=_object,
        )
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            Code.BODY_NOT_JSON, f"Byte {error.start} is not UTF-8, which JSON has to be."
        ) from error
    except RecursionError as error:
        raise InvalidInputError(Code.BODY_NOT_JSON, "It is nested too deeply.") from error
    except ValueError as error:
        raise InvalidInputError(Code.BODY_NOT_JSON, f"Not JSON: {error}.") from error


def first_duplicate(value: Any) -> str | None:
    """Return where a key stands twice anywhere in a parsed value (`legs.0.price`), or None."""
    for place, one in _walk(value, ""):
        if isinstance(one, JsonObject) and one.duplicates:
            return f"{place}.{one.duplicates[0]}".lstrip(".")
    return None


def first_unwritable(value: Any) -> str | None:
    """Return where a text stands that no database takes: with a NUL, or half a letter."""
    for place, one in _walk(value, ""):
        texts = [one] if isinstance(one, str) else list(one) if isinstance(one, dict) else []
        if any("\x00" in text or not _is_whole(text) for text in texts):
            return place
    return None


def _walk(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Everything in a parsed value, in its order, with where it stands; however deep it is."""
    waiting = [(path, value)]
    while waiting:
        at, one = waiting.pop()
        yield at.lstrip("."), one
        inner: list[tuple[Any, Any]] = []
        if isinstance(one, dict):
            inner = list(one.items())
        elif isinstance(one, list):
            inner = list(enumerate(one))
        waiting += [(f"{at}.{name}", item) for name, item in reversed(inner)]


def _is_whole(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= one <= "\udfff" for one in text)
