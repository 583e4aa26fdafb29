"""What a worker and the process that holds the package say to each other: four bytes of length,
then JSON. Nothing that is read is run: no pickles.

Answers of the package are named tuples, lists of them, plain values. Numbers pass as they are:
JSON's floats are read back to the last bit.
"""

from collections.abc import Sequence
from struct import Struct
from types import SimpleNamespace
from typing import Any, BinaryIO

import orjson

_HEAD = Struct(">I")
MAX_FRAME = 256 * 2**20  # all symbols of a large broker are some 10 MB


def read(stream: BinaryIO) -> Any:
    """Return the next frame; None at the stream's end. Raises ValueError for what is no frame."""
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
    """Write a frame whole. Raises OSError, TypeError for what JSON has no word for."""
    body = orjson.dumps(frame)
    stream.write(_HEAD.pack(len(body)) + body)
    stream.flush()


def pack(value: Any) -> Any:
    """Put an answer of the package into JSON's words; `unpack` reads it."""
    if hasattr(value, "_asdict"):
        return {"row": {name: pack(one) for name, one in value._asdict().items()}}
    if not isinstance(value, tuple | list):
        return value
    if value and all(hasattr(one, "_asdict") for one in value):
        return {"fields": list(value[0]._asdict()), "rows": [list(one) for one in value]}
    return {"list": [pack(one) for one in value]}


def unpack(value: Any) -> Any:
    """Read what `pack` wrote: rows have their fields as attributes."""
    if not isinstance(value, dict):
        return value
    if "row" in value:
        return SimpleNamespace(**{name: unpack(one) for name, one in value["row"].items()})
    if "list" in value:
        return [unpack(one) for one in value["list"]]
    fields: Sequence[str] = value["fields"]
    return [SimpleNamespace(**dict(zip(fields, row, strict=True))) for row in value["rows"]]
