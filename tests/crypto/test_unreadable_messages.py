"""A message by websocket that ccxt or we cannot read ends no stream, and is not logged."""

import asyncio
from typing import Any

import pytest

from brokers.crypto import websockets
from tests.crypto.factories import ExchangeAccount, binance
from tests.crypto.test_order_stream import listening, rest, run
from tests.until import until_async

__all__ = ["binance"]
PRIVATE = "private"


def test_news_that_we_cannot_read_do_not_end_the_stream(
    binance: ExchangeAccount, caplog: pytest.LogCaptureFixture
) -> None:
    bad: dict[str, Any] = {"e": [PRIVATE]}

    async def listen() -> None:
        async with listening(binance) as listener:
            binance.server.sockets.next.append(bad)
            await until_async(lambda: "not readable" in caplog.text or listener.failure)
            binance.venue.execute(rest(binance))
            await listener.until(lambda: listener.count == 2 or listener.failure)
            assert listener.failure is None

    run(binance, listen())
    assert PRIVATE not in caplog.text


def test_quote_without_a_symbol_that_we_can_read_is_passed_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    messages = [{"arg": PRIVATE, "data": []}, {"arg": {"channel": "books"}, "data": []}]
    seen: list[Any] = []

    async def handle() -> None:
        exchange = websockets.stream_class("okx")({})
        exchange.conflates, exchange.on_news = 1.0, seen.append
        for message in messages:
            exchange.handle_message(None, message)
        await exchange.close()

    asyncio.run(handle())
    assert seen == messages
    assert PRIVATE not in caplog.text


def test_latest_quote_that_we_cannot_read_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """It is read a moment later, by the loop, which would log all that it has of it."""
    seen: list[Any] = []

    def fail(message: Any) -> None:
        seen.append(message)
        raise ValueError(message)

    async def handle() -> None:
        exchange = websockets.stream_class("binance")({})
        exchange.conflates, exchange.on_news = 0.05, fail
        quote = {"e": "bookTicker", "s": PRIVATE, "b": "1"}
        for message in (quote, quote | {"b": "2"}):
            exchange.handle_message(None, message)
        async with asyncio.timeout(60):
            while len(seen) < 2:  # noqa: ASYNC110 (a timer of the loop changes it)
                await asyncio.sleep(0.01)
        await exchange.close()

    asyncio.run(handle())
    assert PRIVATE not in caplog.text
