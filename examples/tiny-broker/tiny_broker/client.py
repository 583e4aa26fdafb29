"""One request to Tiny over a connection of its own: log in, send, read the reply, disconnect."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from brokers.base import ReadFailed
from brokers.safe_connect import connect_safely
from brokers.types import ConnectionSpec

CONNECT_SECONDS, REPLY_SECONDS = 3.0, 10.0
PORT = 7333


class NotReached(Exception):
    """The request was not sent: Tiny is unreachable, or no byte of the request has left."""


class LoginRefused(Exception):
    """The request was not sent, because Tiny refused the login. The text is Tiny's error."""


class NoAnswer(Exception):
    """The request has left, and its outcome is unknown."""


def _nothing() -> None:
    pass


async def call(
    spec: ConnectionSpec, message: dict[str, Any], before: Callable[[], None] = _nothing
) -> dict[str, Any]:
    """Send a request and return the reply.

    before: called directly before the write; what it raises is passed on.
    Raises NotReached, LoginRefused or NoAnswer.
    """
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            port = int(spec.settings.get("port", PORT))
            reader, writer = await connect_safely(  # checks each time where the name leads
                str(spec.settings["host"]), lambda address: asyncio.open_connection(address, port)
            )
    except ReadFailed as error:  # the name leads to a forbidden address
        raise NotReached(error.detail) from error
    except OSError as error:  # includes time-outs
        raise NotReached(type(error).__name__) from error
    try:
        await _log_in(spec, reader, writer)
        data = _line(message)
        before()  # nothing is awaited from here to the write
        writer.write(data)
        if writer.transport.get_write_buffer_size():  # Tiny acts only on complete lines
            raise NotReached("the connection accepts no more data")
        async with asyncio.timeout(REPLY_SECONDS):
            return _read(await reader.readline())
    except (OSError, ValueError) as error:
        raise NoAnswer(f"{type(error).__name__} {error}".strip()) from error
    finally:
        writer.transport.abort()  # bytes that are still in our buffer never leave


async def _log_in(
    spec: ConnectionSpec, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    password = spec.credentials.get("password", "")
    writer.write(_line({"do": "login", "account": spec.account, "password": password}))
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            answer = _read(await reader.readline())
    except (OSError, ValueError) as error:
        raise NotReached(type(error).__name__) from error
    if "error" in answer:
        raise LoginRefused(str(answer["error"]))


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _read(data: bytes) -> dict[str, Any]:
    """Parse one line. Raises ValueError if it is incomplete or not an object."""
    if not data.endswith(b"\n"):
        raise ValueError(f"incomplete line: {data[:200]!r}")
    message = json.loads(data)
    if not isinstance(message, dict):
        raise ValueError(f"not an object: {data[:200]!r}")  # noqa: TRY004  # not a type error
    return message
