"""Frames on the line: four bytes of length, then a JSON object."""

import struct
from collections.abc import Iterator
from typing import Any

import orjson

HEAD = struct.Struct(">I")
LARGEST = 256 * 2**20  # bytes; a journal of a million orders fits


class BadFrameError(Exception):
    """What came is no frame of ours; `raw` is the beginning of it."""

    def __init__(self, raw: bytes) -> None:
        super().__init__("not a frame")
        self.raw = raw[:500]


def pack(message: dict[str, Any]) -> bytes:
    """Write a frame. Values are what JSON knows, or text that is JSON already (orjson.Fragment)."""
    body = orjson.dumps(message)
    return HEAD.pack(len(body)) + body


def unpack(body: bytes) -> dict[str, Any]:
    """Read the inside of a frame. Raises BadFrameError."""
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadFrameError(body) from error
    if not isinstance(message, dict):
        raise BadFrameError(body)
    return message


class Unpacker:
    """Cuts a stream of bytes into the insides of frames."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Return each frame that is complete. Raises BadFrameError for an absurd length."""
        self._rest += data
        at = 0
        try:
            while len(self._rest) - at >= HEAD.size:
                (length,) = HEAD.unpack_from(self._rest, at)
                if length > LARGEST:
                    raise BadFrameError(bytes(self._rest[at : at + 500]))
                end = at + HEAD.size + length
                if len(self._rest) < end:
                    break
                yield bytes(self._rest[at + HEAD.size : end])
                at = end
        finally:
            del self._rest[:at]

    @property
    def rest(self) -> bytes:
        """The beginning of a frame whose end has not come."""
        return bytes(self._rest[:500])
