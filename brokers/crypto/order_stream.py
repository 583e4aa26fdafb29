"""News of an account's orders by the exchange's private websocket: when to read the account.

The stream states only that something has changed. It is read again as ever, so a lost or doubled
message costs nothing but time.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from brokers.base import BrokerError, ReadFailed
from brokers.crypto import stream_messages, websockets
from brokers.crypto.client import Client
from brokers.crypto.orders import error_code, redact
from brokers.crypto.stream_messages import CONFIRMED_BY_CONNECTING, Announcement
from brokers.types import ConnectionSpec
from common.reason_codes import Code

START_SECONDS = 15.0
ERROR_SECONDS = 0.5  # for ccxt's error after the message that has caused it
NOT_CONFIRMED = f"the subscription was not confirmed within {START_SECONDS:g} s"
CLOSED = "the exchange has ended the stream"


class _News:
    """What one connection has announced so far."""

    def __init__(self, client: Client) -> None:
        self._name, market = client.rules.name, client.settings.market
        self._opens = (self._name, market) in CONFIRMED_BY_CONNECTING
        self._event = asyncio.Event()
        self.is_subscribed = False
        self.has_ended = False
        self.refusal: RefusedError | None = None

    def on_open(self, address: str) -> None:
        if self._opens:
            self._subscribed()

    def on_message(self, message: Any) -> None:
        match stream_messages.read(self._name, message):
            case Announcement.SUBSCRIBED:
                self._subscribed()
            case Announcement.CHANGED if self.is_subscribed:
                self._event.set()
            case Announcement.ENDING:
                self._end()
            case Announcement.REFUSED:
                self.refusal = RefusedError(stream_messages.refusal_of(self._name, message))
                self._end()

    def on_end(self, _: Any = None) -> None:
        self._event.set()

    def _subscribed(self) -> None:
        self.is_subscribed = True
        self._event.set()

    def _end(self) -> None:
        self.has_ended = True
        self._event.set()

    async def next(self) -> None:
        await self._event.wait()
        self._event.clear()


async def watch(client: Client, exchange: Any, spec: ConnectionSpec) -> AsyncGenerator[None]:
    """Yield once the exchange announces changes, then whenever it has announced one; what the
    caller has not consumed yet is merged. Raises ReadFailed when the connection has ended.

    exchange: of `ClientPool.open_stream`, for this call only.
    """
    await client.rate_limits.admit_connection()
    news = _News(client)
    exchange.on_news, exchange.on_open = news.on_message, news.on_open
    async with websockets.reading(exchange, exchange.watch_orders) as task:
        task.add_done_callback(news.on_end)
        try:
            async with asyncio.timeout(START_SECONDS):
                await news.next()
        except TimeoutError as error:
            raise ReadFailed(Code.BROKER_UNREACHABLE, NOT_CONFIRMED) from error
        while True:
            await _raise_if_over(news, task, client, spec)
            yield
            await news.next()


async def _raise_if_over(
    news: _News, task: "asyncio.Task[None]", client: Client, spec: ConnectionSpec
) -> None:
    """Raise ReadFailed if the connection has ended, with what states most: the exchange's refusal,
    ccxt's error, or that it has ended."""
    if news.has_ended:
        await asyncio.wait([task], timeout=ERROR_SECONDS)
    errors: list[BaseException | None] = [news.refusal]
    errors += [task.exception()] if task.done() and not task.cancelled() else []
    failures = [read_failed(error, client, spec) for error in errors if error is not None]
    if news.has_ended or task.done():
        known = [one for one in failures if one.code is not Code.BROKER_UNREACHABLE]
        raise next(iter(known + failures), ReadFailed(Code.BROKER_UNREACHABLE, CLOSED))


class RefusedError(Exception):
    """The exchange has refused a subscription, in a message."""


def read_failed(error: BaseException, client: Client, spec: ConnectionSpec) -> ReadFailed:
    """Return our error for what has ended a connection by websocket, without secrets."""
    if isinstance(error, BrokerError):
        return ReadFailed(error.code, error.detail)
    if not isinstance(error, Exception):
        return ReadFailed(Code.BROKER_UNREACHABLE, CLOSED)
    code = error_code(error, client.rules.envelope)
    text = websockets.without_secrets(f"{type(error).__name__} {error}")
    return ReadFailed(code, redact(text, spec))
