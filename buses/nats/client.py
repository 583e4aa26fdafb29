"""A connection to NATS for code that is not asynchronous: its event loop runs on a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import structlog

from buses.sinks import SinkMisconfigured, SinkUnavailable

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext

log = structlog.get_logger(__name__)
T = TypeVar("T")
REQUIREMENTS = "requirements-buses.txt"
CONNECT_SECONDS, CLOSE_SECONDS = 5.0, 2.0
_TOKEN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


def load_nats() -> ModuleType:
    """Return the client library. Raises SinkMisconfigured if it is not installed."""
    try:
        import nats
    except ImportError as error:
        detail = f"NATS needs nats-py: pip install -r {REQUIREMENTS}"
        raise SinkMisconfigured(detail) from error
    loaded: ModuleType = nats
    return loaded


def is_token(text: str) -> bool:
    """Whether a text can be one part of a subject, and the name of a stream."""
    return 0 < len(text) <= 60 and set(text) <= _TOKEN


def to_token(text: str) -> str:
    """Return a text as one part of a subject: `EUR/USD` is `EURUSD`, `BRK.B` is `BRK_B`."""
    joined = "".join(c if c in _TOKEN else "_" for c in text.replace("/", ""))
    return joined[:60] or "_"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a NATS server is, and how to sign in to it.

    stream: the path of the URL. prefix: what subjects begin with, such as `acme`; empty: nothing.
    """

    server: str
    stream: str
    prefix: str
    user: str | None
    password: str | None
    token: str | None
    tls: bool

    @classmethod
    def parse(cls, url: str, *, stream: str) -> Address:
        """Read `nats://user:password@host:4222/STREAM?prefix=acme&tls=yes`.

        stream: the default. A user without a password is a token. Raises SinkMisconfigured.
        """
        parts, options = urlsplit(url), dict(parse_qsl(urlsplit(url).query))
        unknown = options.keys() - {"prefix", "tls"}
        name, prefix = parts.path.strip("/") or stream, options.get("prefix", "")
        if not parts.hostname:
            raise SinkMisconfigured("The URL nats:// names no host: nats://host:4222")
        if unknown:
            known = "prefix, tls"
            raise SinkMisconfigured(f"nats:// knows {known}; not {', '.join(sorted(unknown))}.")
        for what, text in (("stream", name), ("prefix", prefix or "x")):
            if not is_token(text):
                detail = f"nats://: the {what} {text!r} may have letters, digits, - and _ only."
                raise SinkMisconfigured(detail)
        user = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password is not None else None
        return cls(
            server=f"nats://{parts.hostname}:{parts.port or 4222}",
            stream=name,
            prefix=prefix,
            user=user if password is not None else None,
            password=password,
            token=user if password is None else None,
            tls=options.get("tls", "no") == "yes",
        )

    @property
    def name(self) -> str:
        """Server and stream, without secrets."""
        return f"{self.server}/{self.stream}"

    def subject(self, *parts: str) -> str:
        """Return the subject of these parts behind the prefix."""
        return ".".join(filter(None, (self.prefix, *parts)))


class NatsClient:
    """A connection that opens when it is first used, and again after it was lost.

    Used by one thread at a time.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._nats = load_nats()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connection: Client | None = None
        self._last_error = "no answer"
        self.opened = 0

    def jetstream(self) -> JetStreamContext:
        """Return JetStream on an open connection. Raises SinkUnavailable.

        One that the library has closed for good, after an error that the server stated, is opened
        again by the next call: who calls waits longer after each failure. `opened` counts them:
        what was made on an older connection is gone.
        """
        if self._connection is not None and self._connection.is_closed:
            error, self._connection = self._connection.last_error, None
            self._last_error = str(error or self._last_error)
            raise SinkUnavailable(f"{self.address.server}: {self._last_error}")
        if self._connection is None:
            self._open()
        if self._connection is None or not self._connection.is_connected:
            raise SinkUnavailable(f"{self.address.server}: {self._last_error}")
        return self._connection.jetstream(timeout=CONNECT_SECONDS)

    def run(self, work: Coroutine[Any, Any, T], *, seconds: float) -> T:
        """Return what a coroutine returns on the loop.

        Raises TimeoutError, SinkUnavailable, and what the coroutine raises.
        """
        if self._loop is None:
            work.close()
            raise SinkUnavailable("the connection is closed")
        future = asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, seconds), self._loop)
        try:
            return future.result(seconds + CLOSE_SECONDS)
        except TimeoutError:
            future.cancel()
            raise
        except CancelledError as error:
            raise SinkUnavailable("the connection was closed meanwhile") from error

    def close(self) -> None:
        """Give up the connection and end the thread; may be called twice."""
        loop, self._loop = self._loop, None
        connection, self._connection = self._connection, None
        if loop is None:
            return

        async def end() -> None:
            try:
                if connection is not None:
                    await asyncio.wait_for(connection.close(), CLOSE_SECONDS)
            except (OSError, self._nats.errors.Error) as error:  # what lost the connection
                log.debug("nats connection closed with an error", error=repr(error))
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            loop.stop()

        asyncio.run_coroutine_threadsafe(end(), loop)

    def _open(self) -> None:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=_run, args=(self._loop,), name="nats", daemon=True).start()
        try:
            connection = self.run(self._connect(), seconds=CONNECT_SECONDS)
        except (OSError, ValueError, self._nats.errors.Error) as error:
            raise SinkUnavailable(f"{self.address.server}: {self._last_error}") from error
        self._connection = connection
        self.opened += 1

    async def _on_error(self, error: Exception) -> None:
        """Keep why the connection was lost or refused; who uses it reports that, once."""
        self._last_error = str(error) or type(error).__name__

    async def _connect(self) -> Client:
        address = self.address
        options: dict[str, Any] = {
            "user": address.user, "password": address.password, "token": address.token,
        }  # fmt: skip
        if address.tls:
            import ssl

            options["tls"] = ssl.create_default_context()
        connection: Client = await self._nats.connect(
            address.server,
            name="fillcast",
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
            connect_timeout=CONNECT_SECONDS,
            ping_interval=10,
            max_outstanding_pings=2,
            error_cb=self._on_error,
            **{name: value for name, value in options.items() if value},
        )
        return connection


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()
