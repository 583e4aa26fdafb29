"""A strict JSON parser: numbers keep their text, duplicate keys are detected."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from common.errors import InvalidInputError
from common.reason_codes import Code

MAX_BYTES = 16 * 1024


class NumberText(str):
    """A JSON number as written. It is never parsed as a float; NaN stays `NaN`."""

    __slots__ = ()


class JsonObject(dict[str, Any]):
    """A JSON object with the list of its duplicate keys."""

    duplicates: tuple[str, ...] = ()


def _object(pairs: list[tuple[str, Any]]) -> JsonObject:
    parsed = JsonObject(pairs)
    if len(parsed) != len(pairs):
        times = Counter(name for name, _ in pairs)
        parsed.duplicates = tuple(name for name in parsed if times[name] > 1)
    return parsed


def parse(data: bytes, *, max_bytes: int = MAX_BYTES) -> Any:
    """Return the parsed JSON text: JsonObject, list, str, NumberText, bool or None.

    Raises InvalidInputError BODY_TOO_LARGE, BODY_NOT_JSON. Duplicate keys are not rejected here but
    recorded, so that in a list only the entry that has them is refused.
    """
    if len(data) > max_bytes:
        raise InvalidInputError(
            Code.BODY_TOO_LARGE,
            f"{len(data)} bytes are more than the maximum of {max_bytes}.",
            value=len(data),
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
            Code.BODY_NOT_JSON, f"Byte {error.start} is not UTF-8, which JSON must be."
        ) from error
    except RecursionError as error:
        raise InvalidInputError(Code.BODY_NOT_JSON, "It is nested too deeply.") from error
    except ValueError as error:
        raise InvalidInputError(Code.BODY_NOT_JSON, f"Not JSON: {error}.") from error


def first_duplicate(value: Any) -> str | None:
    """Return the path of the first duplicate key in a parsed value (`legs.0.price`), or None."""
    for place, item in _walk(value):
        if isinstance(item, JsonObject) and item.duplicates:
            return _path((place, item.duplicates[0]))
    return None


def first_unwritable(value: Any) -> str | None:
    """Return the path of the first text that no database accepts: with NUL or half a surrogate."""
    for place, item in _walk(value):
        texts = [item] if isinstance(item, str) else list(item) if isinstance(item, dict) else []
        if any("\x00" in text or not _is_whole(text) for text in texts):
            return _path(place)
    return None


# An item's place: that of what it is in, and its key or number there. The paths are not made of
# texts, since a long key with many items below would be copied for each.
_Place = tuple[Any, str | int] | None


def _walk(value: Any) -> Iterator[tuple[_Place, Any]]:
    """Yield the place and value of every item in a parsed value, in order, at any depth."""
    stack: list[tuple[_Place, Any]] = [(None, value)]
    while stack:
        place, item = stack.pop()
        yield place, item
        children: list[tuple[Any, Any]] = []
        if isinstance(item, dict):
            children = list(item.items())
        elif isinstance(item, list):
            children = list(enumerate(item))
        stack += [((place, name), child) for name, child in reversed(children)]


def _path(place: _Place) -> str:
    """Return a place as a text: `legs.0.price`; empty for the whole value."""
    names: list[str] = []
    while place is not None:
        place, name = place
        names.append(str(name))
    return ".".join(reversed(names))


def _is_whole(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)
