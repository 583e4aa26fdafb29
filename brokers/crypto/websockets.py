"""ccxt's exchange classes with websockets (`ccxt.pro`), as far as we use them.

ccxt connects, signs, subscribes and answers pings. What its methods return is not used: between two
calls they miss messages, and a message that its parser cannot read would end its reading for good.
So each message is passed on as it arrives, and the call that waits only states when the connection
has ended.
"""

import asyncio
import importlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from brokers.base import outcome_of
from brokers.crypto import stream_messages
from brokers.crypto.ccxt_hooks import HookedExchange
from common.clocks import machine_time

log = logging.getLogger(__name__)
CLOSE_SECONDS = 2.0
SECRETS_OF_STREAMS = re.compile(
    r"(listenKey=|/ws/|\"?(?:token|sign|signature)\"?\s*[:=]\s*\"?)[\w+/=\\-]{16,}"
)
"""In texts of errors: what lets others read the account's news for a while."""


class StreamingExchange(HookedExchange):
    """Mixed in before one of ccxt's classes with websockets. on_news: receives each message.
    on_open: receives the address of each connection as it is opened. conflates: seconds within
    which only the latest quote of a symbol is read; at 500 a second, reading each costs more than
    all else here. 0: all are read."""

    on_news: Callable[[Any], None]
    on_open: Callable[[str], None]
    conflates: float = 0.0
    _read_at: dict[str, float]  # by symbol: when a quote of it was last read
    _latest: dict[str, tuple[Any, Any]]  # by symbol: its connection and message, to be read

    def handle_message(self, client: Any, message: Any) -> None:
        """Read a message, or a quote that others may soon replace a moment later."""
        symbol = self.conflates and self._try(stream_messages.quoted_symbol, self.id, message)
        if not symbol:
            self._read(client, message)
            return
        latest = self.__dict__.setdefault("_latest", {})
        read_at = self.__dict__.setdefault("_read_at", {})
        if symbol in latest:
            latest[symbol] = client, message
        elif (wait := read_at.get(symbol, 0.0) + self.conflates - machine_time()) <= 0:
            read_at[symbol] = machine_time()
            self._read(client, message)
        else:
            latest[symbol] = client, message
            asyncio.get_running_loop().call_later(wait, self._read_latest, symbol)

    def _read_latest(self, symbol: str) -> None:
        self._read_at[symbol] = machine_time()
        self._read(*self._latest.pop(symbol))

    def _read(self, client: Any, message: Any) -> None:
        """Let ccxt handle a message, then pass it on, whatever ccxt makes of it."""
        self._try(super().handle_message, client, message)  # type: ignore[misc]
        self._try(self.on_news, message)

    def _try(self, read: Callable[..., Any], *arguments: Any) -> Any:
        """Return what is read of a message; None if it raises."""
        try:
            return read(*arguments)
        except Exception as error:  # any: ccxt's parsers and ours; it would end ccxt's reading
            # Not its text, which may have what the message states of the account.
            log.warning("%s: a websocket message is not readable: %r", self.id, type(error))
            return None

    def seconds(self) -> int:
        """Return the time that ccxt dates logins with: the exchange's, as for requests."""
        return self.clock.now_ms() // 1000

    def client(self, url: str) -> Any:
        """Return the connection to an address; no error of what it awaits is logged."""
        client = super().client(url)  # type: ignore[misc]
        if "future" not in vars(client):
            make = client.future
            client.future = lambda name: _retrieved(make(name))
        return client

    def spawn(self, method: Any, *arguments: Any) -> Any:
        """Run a call in the background, such as the renewal of a listen key."""
        return _retrieved(super().spawn(method, *arguments))  # type: ignore[misc]

    def on_connected(self, client: Any, message: Any = None) -> None:
        """Pass on that a connection is open."""
        super().on_connected(client, message)  # type: ignore[misc]
        self.on_open(str(client.url))


@cache
def stream_class(name: str) -> Any:
    return type(name, (StreamingExchange, getattr(importlib.import_module("ccxt.pro"), name)), {})


@asynccontextmanager
async def reading(
    exchange: Any, wait: Callable[[], Awaitable[Any]]
) -> AsyncIterator["asyncio.Task[None]"]:
    """Read an exchange's messages inside the block. wait: ccxt's method that subscribes and waits
    for a message. Yields the task, which ends with the error that has ended the connection."""

    async def read() -> None:
        while True:
            await wait()
            await asyncio.sleep(0)  # whatever ccxt returns at once, the loop's other work goes on

    task = asyncio.create_task(read())
    try:
        yield task
    finally:
        exchange.on_news = exchange.on_open = ignore
        task.cancel()
        await asyncio.wait([task])
        _retrieved(task)
        await close(exchange)


async def close(exchange: Any) -> None:
    """Close an exchange's connections by websocket; the HTTP session stays, since others use it."""
    for bucket in exchange.options.values():
        if isinstance(bucket, dict) and "listenKey" in bucket:
            bucket["listenKey"] = None  # else ccxt's timer would go on to renew it

    async def close_in_time() -> None:
        async with asyncio.timeout(CLOSE_SECONDS):
            await exchange.close_ws_clients()

    await outcome_of(close_in_time())  # it is over whatever it raises


def without_secrets(text: str) -> str:
    """Return an error's text without listen keys, tokens and signatures."""
    return SECRETS_OF_STREAMS.sub(r"\1…", text)


def _retrieved(future: Any) -> Any:
    """Keep asyncio from logging the error of a future that ccxt awaits no more: its text may have
    a listen key, and the task that reads reports it."""
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future


def ignore(_: Any) -> None:
    """Ignore it: the stream has ended."""
