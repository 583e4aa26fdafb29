"""The best bid and ask of symbols, polled; no websocket is used."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from brokers.base import ReadFailed, Rejected
from brokers.crypto import order_encoding, parse
from brokers.crypto.client import Client
from brokers.crypto.reads import call_method
from brokers.types import Quote
from common.clocks import machine_time
from common.reason_codes import Code

QUOTE_VALID_SECONDS = 5.0
"""An unchanged price is sent again after this, so that its consumers know that it is current."""
POLL_SECONDS = 1.0
"""Between two requests. A quote is at most this old, plus the time of a reply."""


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


async def stream(read_quotes: Callable[[], Awaitable[list[Quote]]]) -> AsyncIterator[Quote]:
    """Yield each quote that differs from its symbol's last, and an unchanged one after
    QUOTE_VALID_SECONDS. Raises what `read_quotes` raises."""
    last: dict[str, Quote] = {}
    sent_at: dict[str, float] = {}
    while True:
        began = machine_time()
        for one in await read_quotes():
            is_unchanged = last.get(one.symbol) == one
            if not is_unchanged or began - sent_at[one.symbol] >= QUOTE_VALID_SECONDS:
                last[one.symbol], sent_at[one.symbol] = one, began
                yield one
        await asyncio.sleep(max(0.0, began + POLL_SECONDS - machine_time()))


def _market(client: Client, symbol: str) -> Mapping[str, Any]:
    try:
        return order_encoding.market_of(client, symbol)
    except Rejected as error:
        raise ReadFailed(error.code, error.detail) from error


def _pair(market: Mapping[str, Any]) -> str:
    return f"{market['base']}/{market['quote']}"
