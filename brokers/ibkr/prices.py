"""Prices from TWS: asked for once, or as they come."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from typing import Any

from ib_async.contract import Contract

from brokers.base import ReadFailed, Rejected
from brokers.ibkr import parse
from brokers.ibkr.contract_details import details_of
from brokers.ibkr.market_data_lines import MarketDataLine
from brokers.ibkr.session import Session
from brokers.rate_limits import Priority
from brokers.types import Quote
from common.clocks import machine_time
from common.reason_codes import Code

log = logging.getLogger(__name__)
LINE_KEEP_SECONDS = 60.0  # a symbol whose price was asked for is heard for so long
MAX_KEPT_LINES = 20  # of them in a session: a login has 100 for all its programs
LEVEL_CHECK_SECONDS = 1.0  # seconds that a moved level waits for a price to be judged by
LINE_LOST = frozenset({Code.NOT_CONNECTED, Code.BROKER_UNREACHABLE, Code.CLIENT_ID_IN_USE})


async def quote(session: Session, symbol: str) -> Quote:
    """Read the top of book now. Raises ReadFailed."""
    await session.ready()
    return await _quote(session, symbol, await _details(session, symbol), Priority.READ)


async def _quote(session: Session, symbol: str, details: Any, priority: Priority) -> Quote:
    """Read a contract's top of book now, from a line that is open or a new one. priority: of what
    cannot leave before. Raises ReadFailed."""
    if (now := last_quote(session, details.contract.conId)) is not None:
        return now
    received = asyncio.Event()
    async with AsyncExitStack() as stack:
        line = await stack.enter_async_context(
            _subscribed(session, symbol, details, lambda _: received.set(), priority)
        )
        with suppress(TimeoutError):
            async with asyncio.timeout(session.timing.price):
                while line.quote is None and line.error is None:
                    received.clear()
                    await received.wait()
        if line.error is not None:
            raise line.error
        if (now := line.quote) is None:
            raise ReadFailed(Code.MARKET_CLOSED, f"{symbol}: no bid and ask")
        if session.lines.kept < MAX_KEPT_LINES:
            session.lines.keep(_keep_subscribed(line, received, stack.pop_all()))
        return now


async def _keep_subscribed(
    line: MarketDataLine, received: asyncio.Event, subscription: AsyncExitStack
) -> None:
    """Hear a symbol's prices on for a while, or until they end: who asks next, or has an order
    judged by them, finds the price there, however slow this machine is."""
    async with subscription:
        with suppress(TimeoutError):
            async with asyncio.timeout(LINE_KEEP_SECONDS):
                while line.error is None:
                    received.clear()
                    await received.wait()


def last_quote(session: Session, con_id: int) -> Quote | None:
    """A contract's top of book where it is known now without being asked for."""
    lines = (one for one in session.lines.values() if one.con_id == con_id and not one.error)
    return next((now for line in lines if (now := line.quote) is not None), None)


async def quote_within(
    session: Session, symbol: str, details: Any, until: float | None
) -> Quote | None:
    """A contract's top of book; None where it is not told soon, or at all (no subscription, a
    closed market). symbol: what it is called; until: machine_time() by which something else must
    have happened."""
    left = (
        LEVEL_CHECK_SECONDS
        if until is None
        else min(LEVEL_CHECK_SECONDS, (until - machine_time()) / 2)
    )
    with suppress(ReadFailed, TimeoutError):
        async with asyncio.timeout(max(0.0, left)):
            return await _quote(session, symbol, details, Priority.EXIT)
    return None


async def stream(session: Session, symbols: Sequence[str]) -> AsyncGenerator[Quote, None]:
    """Tell quotes as they come, over every new line to the gateway. A symbol that has no prices is
    left out; of each the newest counts where they come faster than they are taken.

    Raises ReadFailed where it cannot begin, no symbol has prices, or the session was closed.
    """
    await session.ready()
    while True:
        try:
            async with aclosing(_until_lost(session, symbols)) as received:
                async for one in received:
                    yield one
        except ReadFailed as error:
            if error.code not in LINE_LOST or session.closed:
                raise
            log.info("ibkr: prices wait for the line: %s", error)
        again = False
        while not again:
            await asyncio.sleep(session.timing.first_delay)
            try:
                await session.ready()
                again = True
            except ReadFailed:
                if session.closed:
                    raise


async def _until_lost(session: Session, symbols: Sequence[str]) -> AsyncGenerator[Quote, None]:
    changed: dict[str, MarketDataLine] = {}
    received = asyncio.Event()

    def on_change(line: MarketDataLine) -> None:
        changed[line.symbol] = line
        received.set()

    async with AsyncExitStack() as stack:
        lines = await _open_all(session, symbols, on_change, stack)
        while True:
            await received.wait()
            received.clear()
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
    session: Session,
    symbols: Iterable[str],
    on_change: Callable[[MarketDataLine], None],
    stack: AsyncExitStack,
) -> dict[str, MarketDataLine]:
    """Subscribe to all that there is. Raises ReadFailed where there is none of them."""
    lines: dict[str, MarketDataLine] = {}
    missing: ReadFailed | None = None
    for symbol in dict.fromkeys(symbols):
        try:
            details = await _details(session, symbol)
            line = _subscribed(session, symbol, details, on_change)
            lines[symbol] = await stack.enter_async_context(line)
        except ReadFailed as error:
            if error.code is not Code.UNKNOWN_SYMBOL_AT_BROKER:
                raise
            missing = error
            log.warning("ibkr: no prices: %s", error)
    if not lines:
        raise missing or ReadFailed(Code.UNKNOWN_SYMBOL_AT_BROKER, "no symbol is named")
    return lines


async def _details(session: Session, symbol: str) -> Any:
    """What IBKR says of what a symbol means now. Raises ReadFailed."""
    try:
        return await details_of(session, symbol)
    except Rejected as error:
        raise ReadFailed(error.code, error.detail) from error


@asynccontextmanager
async def _subscribed(
    session: Session,
    symbol: str,
    details: Any,
    on_change: Callable[[MarketDataLine], None],
    priority: Priority = Priority.READ,
) -> AsyncIterator[MarketDataLine]:
    """Have TWS tell a contract's prices. Raises ReadFailed."""
    try:
        pair = parse.instrument(symbol, details, session.endpoint.settings).pair
    except (ValueError, ArithmeticError) as error:
        raise ReadFailed(Code.BROKER_UNREACHABLE, f"{symbol}: {error!r}") from error
    line = MarketDataLine(symbol, pair, details.contract.conId, on_change)
    client = session.client
    await session.rate_limiter.acquire(priority=priority)
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
