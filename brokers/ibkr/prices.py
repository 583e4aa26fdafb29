"""Prices from TWS: single quotes and streams."""

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
LINE_KEEP_SECONDS = 60.0  # a line stays open for so long after a quote
MAX_KEPT_LINES = 20  # in a session; a login has 100 lines for all its programs
LEVEL_CHECK_SECONDS = 1.0  # a level change waits so long for the price to compare it with
LINE_LOST = frozenset({Code.NOT_CONNECTED, Code.BROKER_UNREACHABLE, Code.CLIENT_ID_IN_USE})


async def quote(session: Session, symbol: str) -> Quote:
    """Read the current top of book. Raises ReadFailed."""
    await session.ready()
    return await _quote(session, symbol, await _details(session, symbol), Priority.READ)


async def _quote(session: Session, symbol: str, details: Any, priority: Priority) -> Quote:
    """Read a contract's current top of book, from an open line or a new one.

    priority: that of the request which needs it. Raises ReadFailed."""
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
        if session.lines.kept_count < MAX_KEPT_LINES:
            session.lines.keep(_keep_subscribed(line, received, stack.pop_all()))
        return now


async def _keep_subscribed(
    line: MarketDataLine, received: asyncio.Event, subscription: AsyncExitStack
) -> None:
    """Keep a line open for a while or until it fails, so that the next quote or order finds the
    price without waiting."""
    async with subscription:
        with suppress(TimeoutError):
            async with asyncio.timeout(LINE_KEEP_SECONDS):
                while line.error is None:
                    received.clear()
                    await received.wait()


def last_quote(session: Session, con_id: int) -> Quote | None:
    """Return a contract's top of book from an open line; None if there is none."""
    lines = (line for line in session.lines.values() if line.con_id == con_id and not line.error)
    return next((now for line in lines if (now := line.quote) is not None), None)


async def quote_within(
    session: Session, symbol: str, details: Any, send_by: float | None
) -> Quote | None:
    """Return a contract's top of book; None if TWS does not send it soon or at all (no
    subscription, a closed market). send_by: send deadline of the order, on machine_time(); at most
    half the time until then is used."""
    seconds = LEVEL_CHECK_SECONDS
    if send_by is not None:
        seconds = min(seconds, (send_by - machine_time()) / 2)
    with suppress(ReadFailed, TimeoutError):
        async with asyncio.timeout(max(0.0, seconds)):
            return await _quote(session, symbol, details, Priority.EXIT)
    return None


async def stream(session: Session, symbols: Sequence[str]) -> AsyncGenerator[Quote, None]:
    """Yield quotes as they arrive, across reconnects to the gateway.

    It omits symbols without prices, and yields only the latest quote of a symbol if quotes arrive
    faster than the caller takes them. Raises ReadFailed if it cannot begin, if no symbol has
    prices, or if the session was closed.
    """
    await session.ready()
    while True:
        try:
            async with aclosing(_stream_until_lost(session, symbols)) as quotes:
                async for received in quotes:
                    yield received
        except ReadFailed as error:
            if error.code not in LINE_LOST or session.closed:
                raise
            log.info("ibkr: prices wait for the connection: %s", error)
        is_ready = False
        while not is_ready:
            await asyncio.sleep(session.timing.first_delay)
            try:
                await session.ready()
                is_ready = True
            except ReadFailed:
                if session.closed:
                    raise


async def _stream_until_lost(
    session: Session, symbols: Sequence[str]
) -> AsyncGenerator[Quote, None]:
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
    """Subscribe to all symbols that exist. Raises ReadFailed if none does."""
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
        raise missing or ReadFailed(Code.UNKNOWN_SYMBOL_AT_BROKER, "no symbols given")
    return lines


async def _details(session: Session, symbol: str) -> Any:
    """Return the details of the contract that a symbol maps to now. Raises ReadFailed."""
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
    """Subscribe to a contract's prices. Raises ReadFailed."""
    try:
        pair = parse.instrument(symbol, details, session.endpoint.settings).pair
    except (ValueError, ArithmeticError) as error:  # of this symbol: the others have prices
        raise ReadFailed(Code.UNKNOWN_SYMBOL_AT_BROKER, f"{symbol}: {error!r}") from error
    line = MarketDataLine(symbol, pair, details.contract.conId, on_change)
    client = session.client
    await session.rate_limiter.acquire(priority=priority)
    if client is not session.client:
        raise ReadFailed(Code.NOT_CONNECTED, "the session reconnected meanwhile")
    number = client.getReqId()

    def subscribe(contract: Any) -> None:
        with suppress(OSError):  # the connection is being lost: `fail` follows
            client.reqMktData(number, contract, "", False, False, "")

    line.reroute = lambda con_id, exchange: subscribe(Contract(conId=con_id, exchange=exchange))
    session.lines[number] = line
    try:
        subscribe(details.contract)
        yield line
    finally:
        session.lines.pop(number, None)
        await session.send(client, lambda client: client.cancelMktData(number))
