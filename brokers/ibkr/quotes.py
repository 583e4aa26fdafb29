"""Prices from TWS: asked for once, or as they come."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from typing import Any

from ib_async.contract import Contract

from brokers.base import ReadFailed, Rejected
from brokers.ibkr import parse
from brokers.ibkr.details import details_of
from brokers.ibkr.lines import Line
from brokers.ibkr.session import Session
from brokers.messages import Quote
from common.codes import Code

log = logging.getLogger(__name__)
KNOWN_SECONDS = 1.0  # so old may a price that was read be to judge by
LINE_LOST = frozenset({Code.NOT_CONNECTED, Code.BROKER_UNREACHABLE, Code.CLIENT_ID_IN_USE})


async def quote(session: Session, symbol: str) -> Quote:
    """Read the top of book now. Raises ReadFailed."""
    await session.ready()
    if (now := _running(session, symbol)) is not None:
        return now
    told = asyncio.Event()
    async with _subscribed(session, symbol, lambda _: told.set()) as line:
        with suppress(TimeoutError):
            async with asyncio.timeout(session.pace.price):
                while line.quote is None and line.error is None:
                    told.clear()
                    await told.wait()
        if line.error is not None:
            raise line.error
        if (now := line.quote) is None:
            raise ReadFailed(Code.MARKET_CLOSED, f"{symbol}: no bid and ask")
        session.prices[symbol] = now, asyncio.get_running_loop().time()
        return now


def last_quote(session: Session, symbol: str) -> Quote | None:
    """The top of book where it is known now without being asked for."""
    read, at = session.prices.get(symbol, (None, 0.0))
    is_new = at > asyncio.get_running_loop().time() - KNOWN_SECONDS
    return _running(session, symbol) or (read if is_new and session.usable else None)


def _running(session: Session, symbol: str) -> Quote | None:
    lines = (one for one in session.lines.values() if one.symbol == symbol and not one.error)
    return next((line.quote for line in lines), None)


async def stream(session: Session, symbols: Sequence[str]) -> AsyncGenerator[Quote, None]:
    """Tell quotes as they come, over every new line to the gateway. A symbol that has no prices is
    left out; of each the newest counts where they come faster than they are taken.

    Raises ReadFailed where it cannot begin, no symbol has prices, or the session was closed.
    """
    await session.ready()
    while True:
        try:
            async with aclosing(_until_lost(session, symbols)) as told:
                async for one in told:
                    yield one
        except ReadFailed as error:
            if error.code not in LINE_LOST or session.closed:
                raise
            log.info("ibkr: prices wait for the line: %s", error)
        again = False
        while not again:
            await asyncio.sleep(session.pace.first_delay)
            try:
                await session.ready()
                again = True
            except ReadFailed:
                if session.closed:
                    raise


async def _until_lost(session: Session, symbols: Sequence[str]) -> AsyncGenerator[Quote, None]:
    changed: dict[str, Line] = {}
    told = asyncio.Event()

    def stir(line: Line) -> None:
        changed[line.symbol] = line
        told.set()

    async with AsyncExitStack() as stack:
        lines = await _open_all(session, symbols, stir, stack)
        while True:
            await told.wait()
            told.clear()
            for symbol in list(changed):
                line = changed.pop(symbol)
                if line.error is not None:
                    log.warning("ibkr: no prices: %s", line.error)
                    lines.pop(symbol, None)
                    if not lines:
                        raise line.error
                elif (now := line.quote) is not None:
                    yield now


async def _open_all(
    session: Session, symbols: Iterable[str], stir: Callable[[Line], None], stack: AsyncExitStack
) -> dict[str, Line]:
    """Subscribe to all that there is. Raises ReadFailed where there is none of them."""
    lines: dict[str, Line] = {}
    missing: ReadFailed | None = None
    for symbol in dict.fromkeys(symbols):
        try:
            lines[symbol] = await stack.enter_async_context(_subscribed(session, symbol, stir))
        except ReadFailed as error:
            if error.code is not Code.UNKNOWN_SYMBOL_AT_BROKER:
                raise
            missing = error
            log.warning("ibkr: no prices: %s", error)
    if not lines:
        raise missing or ReadFailed(Code.UNKNOWN_SYMBOL_AT_BROKER, "no symbol is named")
    return lines


@asynccontextmanager
async def _subscribed(
    session: Session, symbol: str, stir: Callable[[Line], None]
) -> AsyncIterator[Line]:
    """Have TWS tell a symbol's prices. Raises ReadFailed."""
    try:
        details = await details_of(session, symbol)
        pair = parse.instrument(symbol, details, session.place.settings).pair
    except Rejected as error:
        raise ReadFailed(error.code, error.detail) from error
    except (ValueError, ArithmeticError) as error:
        raise ReadFailed(Code.BROKER_UNREACHABLE, f"{symbol}: {error!r}") from error
    line = Line(symbol, pair, stir)
    client = session.client
    await session.budget.acquire()
    if client is not session.client:
        raise ReadFailed(Code.NOT_CONNECTED, "the line was made anew meanwhile")
    number = client.getReqId()

    def ask(contract: Any) -> None:
        with suppress(OSError):  # the line is being lost: `fail` comes
            client.reqMktData(number, contract, "", False, False, "")

    line.reroute = lambda con_id, exchange: ask(Contract(conId=con_id, exchange=exchange))
    session.lines[number] = line
    try:
        ask(details.contract)
        yield line
    finally:
        session.lines.pop(number, None)
        await session.say(client, lambda client: client.cancelMktData(number))
