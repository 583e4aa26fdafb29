"""Prices: what the expert advisor writes of the symbols that it was asked to watch.

The file names no time and is written only when a price of any symbol changes. A quote is as old as
its own symbol's last change, as far as it was seen (quote_ages.py). A terminal that has lost its
broker goes on writing: where none of its prices has moved for a while, none is told.
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
STALE_SECONDS = 120.0  # no price of any symbol has moved: the terminal may have lost its broker
MAX_AGE_SECONDS = 86_400.0  # where the disk's clock says nothing
UNKNOWN_SYMBOL = "SUBSCRIBE_SYMBOL"  # the expert advisor's error type


async def subscribe(line: DwxClient, symbols: Sequence[str]) -> set[str]:
    """Have the prices of these written beside those that were asked for before; return which of
    all the terminal does not know. In a turn. Raises AwayError.

    A list with an unknown name leaves a hole in the expert advisor's own, of which it complains at
    each tick: so the known ones are asked for again.
    """
    try:
        named = symbols_of(line.spec.settings)
    except LotsError:
        named = {}
    subscribed = dict.fromkeys([*line.terminal.watched, *named, *symbols])
    unknown: set[str] = set()
    for _ in range(2):
        left = [name for name in subscribed if name not in unknown]
        messages = await line.terminal.ask("SUBSCRIBE_SYMBOLS", ",".join(left))
        wrong = [
            name
            for one in messages
            if one.kind == UNKNOWN_SYMBOL
            for name in codes.refused_symbols(one)
        ]
        unknown |= set(wrong)
        if not wrong:
            break
    line.terminal.watched = {name for name in subscribed if name not in unknown}
    return unknown


async def quote(line: DwxClient, symbol: str) -> Quote:
    """Return the price now. Raises AwayError, ReadFailed: also QUOTE_STALE where nothing moves."""
    found = await _last_price(line, symbol)
    if (still := line.terminal.ages.youngest(time.monotonic())) > STALE_SECONDS:
        detail = (
            f"No price of this terminal has moved for {still:.0f} s: all its markets are closed, or"
            " it has lost its broker."
        )
        raise ReadFailed(Code.QUOTE_STALE, detail)
    return found


async def _last_price(line: DwxClient, symbol: str) -> Quote:
    """Return the price that was written last. Raises AwayError, ReadFailed."""
    pair = _pair(line, symbol)
    await line.snapshot()  # it is alive, and the account's
    prices = await written_prices(line)
    if symbol not in prices:
        async with line.terminal.turn():
            if symbol in await subscribe(line, [symbol]):
                detail = f"The terminal does not know {symbol}."
                raise ReadFailed(Code.UNKNOWN_SYMBOL_AT_BROKER, detail)
        prices = await _next_change(line, symbol)
    bid, ask = prices.get(symbol, (Decimal(0), Decimal(0)))
    if not (bid > 0 and ask > 0):
        raise ReadFailed(Code.MARKET_CLOSED, f"The terminal has no price of {symbol}.")
    age = line.terminal.ages.of(symbol, time.monotonic())
    return Quote(pair, bid, ask, market_now() - timedelta(seconds=min(age, MAX_AGE_SECONDS)))


async def stream(line: DwxClient, symbols: Sequence[str]) -> AsyncIterator[Quote]:
    """Tell each symbol's price now, and again whenever it changes. Raises AwayError, ReadFailed.

    Where no price moves it tells none before one does."""
    last = {symbol: await _last_price(line, symbol) for symbol in symbols}
    if line.terminal.ages.youngest(time.monotonic()) <= STALE_SECONDS:
        for one in last.values():
            yield one
    before = None
    while True:
        now = await asyncio.to_thread(signature, line.terminal.prices)
        if now == before:
            await line.snapshot()  # raises where nobody is there
            await asyncio.sleep(POLL_SECONDS)
            continue
        if now is None:  # the expert advisor began anew and forgot
            for symbol in symbols:
                await _last_price(line, symbol)
        before, prices = now, await written_prices(line)
        for symbol, one in last.items():
            bid, ask = prices.get(symbol, (one.bid, one.ask))
            if (bid, ask) != (one.bid, one.ask) and bid > 0 and ask > 0:
                last[symbol] = Quote(one.symbol, bid, ask, market_now())
                yield last[symbol]


async def _next_change(line: DwxClient, symbol: str) -> dict[str, tuple[Decimal, Decimal]]:
    until = time.monotonic() + line.terminal.patience.stale
    while True:
        prices = await written_prices(line)
        if symbol in prices or time.monotonic() > until:
            return prices
        await asyncio.sleep(POLL_SECONDS)


async def written_prices(line: DwxClient) -> dict[str, tuple[Decimal, Decimal]]:
    """Return bid and ask of what the expert advisor was asked to watch. Raises AwayError."""
    if await asyncio.to_thread(signature, line.terminal.prices) is None:
        return {}
    found = await read_whole(
        line.terminal.prices, market_data_file.prices, line.terminal.patience.stale
    )
    line.terminal.ages.see(found, time.monotonic() - await line.terminal.market_age())
    return found


def _pair(line: DwxClient, symbol: str) -> str:
    try:
        return lots_of(line.spec.settings, symbol).pair
    except LotsError as error:
        raise ReadFailed(Code.UNKNOWN_SYMBOL_AT_BROKER, str(error)) from error
