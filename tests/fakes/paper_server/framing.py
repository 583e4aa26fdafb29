"""Frames: four bytes of length, then a JSON object."""

import re
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from brokers.redaction import readable_excerpt
from brokers.types import ConnectionSpec

HEAD = struct.Struct(">I")
MAX_FRAME = 256 * 2**20  # bytes; a journal of a million orders fits


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


NUMBERED = re.compile(rb'\{"id":(\d+)[,}]')


def number_in(body: bytes) -> int | None:
    """Return the number of the call that a frame answers, from its beginning, or None."""
    found = NUMBERED.match(body)
    return int(found[1]) if found else None


def describe_lost_answer(why: str, came: bytes, specs: Sequence[ConnectionSpec]) -> str:
    """Return why an answer is lost, and what came of it without secrets. specs: of the connections
    that it was for; an answer for several connections is shown to none of them: the log has it."""
    if not came or not specs:
        return why
    if len({spec.connection_id for spec in specs}) > 1:
        return f"{why} (the log has what came)"
    return f"{why}. As it came: {readable_excerpt(came, specs[0].credentials)}"


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
                if length > MAX_FRAME:
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
