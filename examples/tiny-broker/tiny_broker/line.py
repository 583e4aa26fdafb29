"""One question to Tiny over a connection of its own: log in, ask, hang up."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from brokers.base import ReadFailed
from brokers.safe_connect import connect_safely
from brokers.types import ConnectionSpec

CONNECT_SECONDS, REPLY_SECONDS = 3.0, 10.0
PORT = 7333


class Away(Exception):
    """Nothing was asked: not reached, or no byte of the question has left."""


class LoginRefused(Exception):
    """Nothing was asked: Tiny does not let us in. Its text is Tiny's error."""


class NoAnswer(Exception):
    """The question has left, and what came of it is not known."""


def _nothing() -> None:
    pass


async def ask(
    spec: ConnectionSpec, words: dict[str, Any], before: Callable[[], None] = _nothing
) -> dict[str, Any]:
    """Ask, and return the answer. before: called right before the write; what it raises passes.

    Raises Away, LoginRefused or NoAnswer.
    """
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            port = int(spec.settings.get("port", PORT))
            reader, writer = await connect_safely(  # where a name leads is judged anew each time
                str(spec.settings["host"]), lambda address: asyncio.open_connection(address, port)
            )
    except ReadFailed as error:  # a name that leads where it may not
        raise Away(error.detail) from error
    except OSError as error:  # a time-out, too
        raise Away(type(error).__name__) from error
    try:
        await _log_in(spec, reader, writer)
        data = _line(words)
        before()  # nothing is awaited from here to the write
        writer.write(data)
        if writer.transport.get_write_buffer_size():  # Tiny acts on whole lines only
            raise Away("the line takes no more")
        async with asyncio.timeout(REPLY_SECONDS):
            return _read(await reader.readline())
    except (OSError, ValueError) as error:
        raise NoAnswer(f"{type(error).__name__} {error}".strip()) from error
    finally:
        writer.transport.abort()  # what the kernel has not taken never leaves


async def _log_in(
    spec: ConnectionSpec, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    password = spec.credentials.get("password", "")
    writer.write(_line({"do": "login", "account": spec.account, "password": password}))
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            answer = _read(await reader.readline())
    except (OSError, ValueError) as error:
        raise Away(type(error).__name__) from error
    if "error" in answer:
        raise LoginRefused(str(answer["error"]))


def _line(words: dict[str, Any]) -> bytes:
    return json.dumps(words).encode() + b"\n"


def _read(data: bytes) -> dict[str, Any]:
    """Read a line. Raises ValueError: cut off, or no object."""
    if not data.endswith(b"\n"):
        raise ValueError(f"half a line: {data[:200]!r}")
    found = json.loads(data)
    if not isinstance(found, dict):
        raise ValueError(f"no object: {data[:200]!r}")  # noqa: TRY004 (the line is wrong)
    return found
