"""Frames between a worker and the package's process: four bytes of length, then JSON.

JSON instead of pickles, so that reading a frame runs no code. Answers of the package are named
tuples, lists of them, or plain values. Floats in JSON are exact.
"""

from collections.abc import Sequence
from struct import Struct
from types import SimpleNamespace
from typing import Any, BinaryIO

import orjson

_HEAD = Struct(">I")
MAX_FRAME = 256 * 2**20  # all symbols of a large broker are some 10 MB


def read(stream: BinaryIO) -> Any:
    """Return the next frame; None at the stream's end. Raises ValueError for an invalid frame."""
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    (length,) = _HEAD.unpack(head)
    if length > MAX_FRAME:
        raise ValueError(f"a frame of {length} bytes: {head!r}")
    body = stream.read(length)
    if len(body) < length:
        return None
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{error}: {body[:200]!r}") from error


def write(stream: BinaryIO, frame: Any) -> None:
    """Write a frame. Raises OSError, and TypeError for a value that JSON does not have."""
    body = orjson.dumps(frame)
    stream.write(_HEAD.pack(len(body)) + body)
    stream.flush()


def pack(value: Any) -> Any:
    """Convert an answer of the package to JSON values; `unpack` reads it."""
    if hasattr(value, "_asdict"):
        return {"row": {name: pack(field) for name, field in value._asdict().items()}}
    if not isinstance(value, tuple | list):
        return value
    if value and all(hasattr(item, "_asdict") for item in value):
        return {"fields": list(value[0]._asdict()), "rows": [list(item) for item in value]}
    return {"list": [pack(item) for item in value]}


def unpack(value: Any) -> Any:
    """Read what `pack` returned: rows have their fields as attributes."""
    if not isinstance(value, dict):
        return value
    if "row" in value:
        return SimpleNamespace(**{name: unpack(field) for name, field in value["row"].items()})
    if "list" in value:
        return [unpack(item) for item in value["list"]]
    fields: Sequence[str] = value["fields"]
    return [SimpleNamespace(**dict(zip(fields, row, strict=True))) for row in value["rows"]]
