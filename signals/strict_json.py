"""JSON from outside, read so that nothing is guessed: numbers keep their text, twins are seen."""

import json
from typing import Any

from common.codes import Code
from common.errors import InvalidInputError

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


def first_duplicate(value: Any, at: str = "") -> str | None:
    """Return where a key stands twice anywhere in a parsed value (`legs.price`), or None."""
    if isinstance(value, JsonObject) and value.duplicates:
        return f"{at}{value.duplicates[0]}"
    if isinstance(value, dict):
        inner = [(f"{at}{name}.", item) for name, item in value.items()]
    elif isinstance(value, list):
        inner = [(f"{at}{index}.", item) for index, item in enumerate(value)]
    else:
        return None
    found = (first_duplicate(item, place) for place, item in inner)
    return next((place for place in found if place is not None), None)
