"""Prices of the symbols that the expert advisor is subscribed to.

The file has no time and is written only when the price of any symbol changes. A quote is as old as
its symbol's last change that we have seen (`QuoteAges`). A terminal that has lost its broker
continues to write: if no price has changed for a while, there are no quotes.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from decimal import Decimal

from brokers.base import ReadFailed
from brokers.dwx import codes, market_data_file
from brokers.dwx.client import DwxClient
from brokers.dwx.lots import LotsError, lots_of, symbols_of
from brokers.dwx.shared_files import read_whole, signature
from brokers.types import Quote
from common.clocks import market_now
from common.reason_codes import Code

POLL_SECONDS = 0.05
STALE_SECONDS = 120.0  # without a change of any price, the terminal may have lost its broker
MAX_AGE_SECONDS = 86_400.0  # if the disk's clock gives no age
UNKNOWN_SYMBOL = "SUBSCRIBE_SYMBOL"  # the expert advisor's error type


async def subscribe(client: DwxClient, symbols: Sequence[str]) -> set[str]:
    """Subscribe to symbols in addition to the present ones; return those that the terminal does not
    have. Call it inside `terminal.turn()`. Raises TerminalUnavailableError.

    After a list with an unknown name the expert advisor reports an error at each tick, so it is
    subscribed to the known ones again.
    """
    try:
        named = symbols_of(client.spec.settings)
    except LotsError:
        named = {}
    subscribed = dict.fromkeys([*client.terminal.watched, *named, *symbols])
    unknown: set[str] = set()
    for _ in range(2):
        left = [name for name in subscribed if name not in unknown]
        messages = await client.terminal.ask("SUBSCRIBE_SYMBOLS", ",".join(left))
        refused = [
            name
            for one in messages
            if one.kind == UNKNOWN_SYMBOL
            for name in codes.refused_symbols(one)
        ]
        unknown |= set(refused)
        if not refused:
            break
    client.terminal.watched = {name for name in subscribed if name not in unknown}
    return unknown


async def quote(client: DwxClient, symbol: str) -> Quote:
    """Return the current price. Raises TerminalUnavailableError, ReadFailed: QUOTE_STALE if no
    price changes."""
    found = await _last_price(client, symbol)
    if (unchanged_seconds := client.terminal.ages.youngest(time.monotonic())) > STALE_SECONDS:
        detail = (
            f"No price of this terminal has moved for {unchanged_seconds:.0f} s: all its markets"
            " are closed, or it has lost its broker."
        )
        raise ReadFailed(Code.QUOTE_STALE, detail)
    return found


async def _last_price(client: DwxClient, symbol: str) -> Quote:
    """Return the price that was written last. Raises TerminalUnavailableError, ReadFailed."""
    pair = _pair(client, symbol)
    await client.snapshot()  # raises unless the terminal runs with the right account
    prices = await written_prices(client)
    if symbol not in prices:
        async with client.terminal.turn():
            if symbol in await subscribe(client, [symbol]):
                detail = f"The terminal does not know {symbol}."
                raise ReadFailed(Code.UNKNOWN_SYMBOL_AT_BROKER, detail)
        prices = await _wait_for_price(client, symbol)
    bid, ask = prices.get(symbol, (Decimal(0), Decimal(0)))
    if not (bid > 0 and ask > 0):
        raise ReadFailed(Code.MARKET_CLOSED, f"The terminal has no price of {symbol}.")
    age = client.terminal.ages.of(symbol, time.monotonic())
    return Quote(pair, bid, ask, market_now() - timedelta(seconds=min(age, MAX_AGE_SECONDS)))


async def stream(client: DwxClient, symbols: Sequence[str]) -> AsyncIterator[Quote]:
    """Yield each symbol's price now, and again whenever it changes.

    If prices are stale it yields none until one changes. Raises TerminalUnavailableError,
    ReadFailed."""
    last = {symbol: await _last_price(client, symbol) for symbol in symbols}
    if client.terminal.ages.youngest(time.monotonic()) <= STALE_SECONDS:
        for one in last.values():
            yield one
    before = None
    while True:
        now = await asyncio.to_thread(signature, client.terminal.prices)
        if now == before:
            await client.snapshot()  # raises if the terminal is down
            await asyncio.sleep(POLL_SECONDS)
            continue
        if now is None:  # the expert advisor has restarted, without subscriptions
            for symbol in symbols:
                await _last_price(client, symbol)
        before, prices = now, await written_prices(client)
        for symbol, one in last.items():
            bid, ask = prices.get(symbol, (one.bid, one.ask))
            if (bid, ask) != (one.bid, one.ask) and bid > 0 and ask > 0:
                last[symbol] = Quote(one.symbol, bid, ask, market_now())
                yield last[symbol]


async def _wait_for_price(client: DwxClient, symbol: str) -> dict[str, tuple[Decimal, Decimal]]:
    until = time.monotonic() + client.terminal.timeouts.stale
    while True:
        prices = await written_prices(client)
        if symbol in prices or time.monotonic() > until:
            return prices
        await asyncio.sleep(POLL_SECONDS)


async def written_prices(client: DwxClient) -> dict[str, tuple[Decimal, Decimal]]:
    """Return bid and ask of the subscribed symbols. Raises TerminalUnavailableError."""
    if await asyncio.to_thread(signature, client.terminal.prices) is None:
        return {}
    found = await read_whole(
        client.terminal.prices, market_data_file.prices, client.terminal.timeouts.stale
    )
    client.terminal.ages.record(found, time.monotonic() - await client.terminal.market_age())
    return found


def _pair(client: DwxClient, symbol: str) -> str:
    try:
        return lots_of(client.spec.settings, symbol).pair
    except LotsError as error:
        raise ReadFailed(Code.UNKNOWN_SYMBOL_AT_BROKER, str(error)) from error
