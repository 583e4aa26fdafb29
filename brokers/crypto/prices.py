"""The best bid and ask of symbols, polled, or by websocket with rare polls (`quote_stream.py`)."""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

from brokers.base import ReadFailed, Rejected
from brokers.crypto import order_encoding, parse
from brokers.crypto.client import Client
from brokers.crypto.quote_stream import QuoteStream
from brokers.crypto.reads import call_method
from brokers.types import Quote
from common.clocks import machine_time
from common.reason_codes import Code

QUOTE_VALID_SECONDS = 5.0
"""An unchanged price is sent again after this, so that its consumers know that it is current."""
POLL_SECONDS = 1.0
"""Between two requests. A quote is at most this old, plus the time of a reply."""
CONFIRM_SECONDS = 5.0
"""Between two requests while a websocket quotes each symbol: they confirm what does not move."""


async def quote(client: Client, *, symbol: str) -> Quote:
    """Return a symbol's best bid and ask. Raises ReadFailed MARKET_CLOSED for an empty book."""
    market = _market(client, symbol)
    if client.rules.price == "fetch_ticker":
        ticker = await call_method(client, "fetch_ticker", symbol)
    else:
        ticker = (await call_method(client, client.rules.price, [symbol]))[symbol]
    found = parse.quote(ticker, _pair(market), datetime.now(UTC))
    if found is None:
        raise ReadFailed(Code.MARKET_CLOSED, f"the order book of {symbol} is empty")
    return found


async def quotes(client: Client, *, symbols: Sequence[str]) -> list[Quote]:
    """Return the quotes of several symbols, without those that have an empty book."""
    markets = {symbol: _market(client, symbol) for symbol in symbols}
    tickers = await call_method(client, client.rules.prices_at_once, list(symbols))
    now = datetime.now(UTC)
    read = (parse.quote(tickers.get(name, {}), _pair(markets[name]), now) for name in symbols)
    return [one for one in read if one is not None]


async def stream(
    read_quotes: Callable[[], Coroutine[Any, Any, list[Quote]]], live: QuoteStream | None
) -> AsyncIterator[Quote]:
    """Yield each quote that differs from its symbol's last, and an unchanged one after
    QUOTE_VALID_SECONDS. live: a websocket, else they are polled. Raises what `read_quotes` raises.

    An unchanged price of a websocket is not sent again before a poll has confirmed it."""
    if live is None:
        async for quote in _polled(read_quotes):
            yield quote
        return
    async with live.running(), aclosing(_streamed(read_quotes, live)) as quotes_of_both:
        async for quote in quotes_of_both:
            yield quote


async def _polled(
    read_quotes: Callable[[], Coroutine[Any, Any, list[Quote]]],
) -> AsyncIterator[Quote]:
    sent = _Sent()
    while True:
        began = machine_time()
        for one in await read_quotes():
            if sent.is_due(one, began):
                yield one
        await asyncio.sleep(max(0.0, began + POLL_SECONDS - machine_time()))


async def _streamed(
    read_quotes: Callable[[], Coroutine[Any, Any, list[Quote]]], live: QuoteStream
) -> AsyncGenerator[Quote]:
    """Poll often until the websocket has quoted each symbol, then rarely. Its quotes do not wait
    for a poll's answer."""
    sent, polled_at = _Sent(), -math.inf
    poll: asyncio.Task[list[Quote]] | None = None
    try:
        while True:
            due_at = polled_at + (CONFIRM_SECONDS if live.is_live else POLL_SECONDS)
            if poll is None and machine_time() >= due_at:
                polled_at, poll = machine_time(), asyncio.create_task(read_quotes())
                poll.add_done_callback(live.wake)
            for one in await live.next(due_at - machine_time() if poll is None else None):
                if sent.is_due(one, machine_time()):
                    yield one
            if poll is None or not poll.done():
                continue
            answered, poll = poll, None
            for one in answered.result():
                if live.was_quoted_since(one.symbol, polled_at):
                    continue  # the answer may be older
                if sent.differs(one):
                    live.doubt(one.symbol)
                if sent.is_due(one, machine_time()):
                    yield one
    finally:
        if poll is not None:
            poll.cancel()


class _Sent:
    """The last quote of each pair, and when it was sent; machine_time()."""

    def __init__(self) -> None:
        self._last: dict[str, Quote] = {}
        self._sent_at: dict[str, float] = {}

    def differs(self, quote: Quote) -> bool:
        """Whether a pair's price is another one than that of its last quote."""
        last = self._last.get(quote.symbol)
        return last is not None and (last.bid, last.ask) != (quote.bid, quote.ask)

    def is_due(self, quote: Quote, now: float) -> bool:
        """Whether to send it: it is another one, or it is time. If so, it counts as sent."""
        is_unchanged = self._last.get(quote.symbol) == quote
        if is_unchanged and now - self._sent_at[quote.symbol] < QUOTE_VALID_SECONDS:
            return False
        self._last[quote.symbol], self._sent_at[quote.symbol] = quote, now
        return True


def _market(client: Client, symbol: str) -> Mapping[str, Any]:
    try:
        return order_encoding.market_of(client, symbol)
    except Rejected as error:
        raise ReadFailed(error.code, error.detail) from error


def _pair(market: Mapping[str, Any]) -> str:
    return f"{market['base']}/{market['quote']}"
