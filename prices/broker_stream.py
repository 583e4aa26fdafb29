"""Follow the prices of one account's broker, on the process's event loop.

Pairs that the broker's streams do not quote are queried one by one. This module distinguishes
the failures of both ways; `quote_intake.py` decides what counts as a price.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterable, Mapping
from concurrent.futures import Future
from datetime import datetime
from decimal import Decimal

import structlog

from brokers.account_capabilities import Capabilities
from brokers.base import BrokerAdapter, BrokerError, ReadFailed, outcome_of
from brokers.types import ConnectionSpec, Quote
from common.clocks import machine_time
from common.reason_codes import Code
from connections import session_lanes
from prices import event_loop
from prices.held_back import Held, HeldQuotes, Suspects
from prices.quote_intake import CONFIRMATION_SECONDS, QuoteIntake
from prices.stream_status import NEEDS_OWNER, SYMBOL_CODES, StreamStatus

log = structlog.get_logger(__name__)
MIN_PAUSE, MAX_PAUSE = 1.0, 60.0  # before a broken stream is opened again
QUIET_SECONDS = 15.0  # a pair that its stream did not quote for so long is queried
QUERY_EVERY = 0.25  # between two queries: 100 pairs stay fresh
QUERY_TIMEOUT = 10.0
MAX_UNANSWERED = 3  # in a row: no further query before the next stream
MAX_STREAMS = 8  # of one account: more are replaced by a single one
RECHECK_SECONDS = 60.0  # until a symbol without a price is queried again
CLEANUP_SECONDS = 2.0  # for an adapter to clean up
LANE_CHECK_SECONDS = 0.2


class _RestartStreamError(Exception):
    """Open the stream again at once."""


class _OpenStream:
    """A stream of some pairs. received_at: when it last sent something; at first, its start.

    is_over: another one took its place. What it still sends is not used.
    """

    def __init__(self) -> None:
        self.received_at = machine_time()
        self.is_over = False


class _AdapterFaultError(ReadFailed):
    """The adapter raised something that is not a BrokerError."""


class BrokerStream:
    """Prices of some pairs from one account. The owner's thread calls the public methods."""

    def __init__(
        self,
        adapter: BrokerAdapter,
        spec: ConnectionSpec,
        lane: str,
        symbols: Mapping[str, str],
        loop: asyncio.AbstractEventLoop,
        judged: HeldQuotes | None = None,
    ) -> None:
        """symbols: the broker's own, by canonical pair. lane: followed only while we hold it.

        judged: what an earlier stream of the same source knew of its quotes.
        """
        self._adapter, self._spec, self._lane = adapter, spec, lane
        self._intake = QuoteIntake(symbols, spec.credentials, judged)
        self._ended = threading.Event()
        self._queried: dict[str, float] = {}  # by pair: when it was queried
        self._unpriced: dict[str, float] = {}  # pairs without a price: when to query them again
        self._streamed: dict[str, _OpenStream] = {}  # the pairs of open streams, each with its own
        self._dropped: set[str] = set()  # streamed pairs with a price that the stream did not send
        self._moved: set[str] = set()  # pairs whose price moved without a quote of the open streams
        self._more_pairs = asyncio.Event()  # there are pairs to open a stream for
        self._unstreamed_until = 0.0  # until then prices are only queried
        self._began = 0.0
        self._loop = loop
        self._run: Future[None] = asyncio.run_coroutine_threadsafe(self._run_while_held(), loop)
        event_loop.register(self)

    # ---- for the thread that carries prices ------------------------------------------------
    def due(self, now: datetime) -> list[Quote]:
        """Return the quotes received since the last call, in order."""
        return self._intake.take_accepted()

    def add_pairs(self, more: Mapping[str, str]) -> None:
        """Follow these pairs too, without a gap in the prices of the others."""
        self._intake.add_symbols(more)  # at once, so that the status includes them
        self._loop.call_soon_threadsafe(self._more_pairs.set)

    def close(self) -> None:
        """Stop following. Returns at once; calls to the broker end soon after."""
        self._run.cancel()

    def wait_ended(self, seconds: float) -> bool:
        """Wait for the end, at most so many seconds. Return whether it has ended."""
        return self._ended.wait(seconds)

    @property
    def is_over(self) -> bool:
        """Whether it has ended: it was closed, or another worker holds its lane now."""
        return self._ended.is_set()

    def expect(self, quotes: Iterable[Quote], ranges: Mapping[str, Decimal] | None = None) -> None:
        """Compare the first quotes with the stored ones of before, and with their range."""
        self._intake.expect(quotes, ranges)

    def suspects(self) -> Suspects:
        """Return the quotes that are held back, by pair."""
        return self._intake.suspects()

    def decide(self, opinions: Mapping[str, bool | None], suspects: Mapping[str, Quote]) -> None:
        """Apply what a second source says of suspect quotes, by pair."""
        self._intake.decide(opinions, suspects)

    def judged(self) -> HeldQuotes:
        """Return what is known of its quotes, for a stream that takes its place."""
        return self._intake.judged()

    def take_held(self) -> Held:
        """Return how many quotes were held back since the last call, and the last one."""
        return self._intake.take_held()

    def status(self) -> StreamStatus:
        """Return the stream's status now."""
        return self._intake.status()

    # ---- on the loop -------------------------------------------------------------------------
    async def _run_while_held(self) -> None:
        """Follow for as long as this process holds the lane."""
        following = asyncio.ensure_future(self._run_forever())
        try:
            while not following.done() and self._lane in session_lanes.held_lanes():
                await asyncio.wait({following}, timeout=LANE_CHECK_SECONDS)
        finally:
            following.cancel()
            await asyncio.wait({following}, timeout=2 * CLEANUP_SECONDS)
            self._ended.set()

    async def _run_forever(self) -> None:
        pause = MIN_PAUSE
        while True:
            self._began, before = machine_time(), self._intake.last_confirmed_at
            has_quotes = await outcome_of(self._has_quotes())
            may_query = has_quotes is True
            error = (
                has_quotes
                if isinstance(has_quotes, Exception)
                else await outcome_of(self._follow())
            )
            if isinstance(error, _RestartStreamError):
                pause = 0.0
            elif isinstance(error, BrokerError):
                self._intake.fail(error.code, error.detail)
                if error.code in NEEDS_OWNER:
                    pause, may_query = MAX_PAUSE, False
                elif error.code in SYMBOL_CODES:
                    pause = await self._without_a_symbol(pause)
            elif error is not None:
                log.warning(
                    "price stream failed", connection=self._spec.connection_id, error=repr(error)
                )
                self._intake.fail(Code.UNEXPECTED, repr(error))
            if self._intake.last_confirmed_at > before:
                pause = min(pause, MIN_PAUSE)
            await self._pause(pause, may_query=may_query)
            pause = min(max(pause, MIN_PAUSE / 2) * 2, MAX_PAUSE)

    async def _pause(self, seconds: float, *, may_query: bool) -> None:
        """Wait before the next stream; query prices meanwhile, as long as the broker answers.

        Stops stay monitored where only the stream fails.
        """
        self._streamed, unanswered, deadline = {}, 0, machine_time() + seconds
        while (left := deadline - machine_time()) > 0:
            await asyncio.sleep(min(left, QUERY_EVERY) if may_query else left)
            if may_query and (pair := self._quietest(machine_time())):
                answered = await outcome_of(self._query(pair))
                if not isinstance(answered, Exception):
                    unanswered = 0 if answered else unanswered + 1
                else:
                    may_query = False
                    if not isinstance(answered, BrokerError):
                        log.warning("no price", pair=pair, error=repr(answered))
                        self._intake.fail(Code.UNEXPECTED, repr(answered))
                may_query = may_query and unanswered < MAX_UNANSWERED
        await asyncio.sleep(0)  # lets a cancellation through, however often streams restart

    async def _follow(self) -> None:
        """Stream the pairs that have prices and query quiet ones. Raises when it cannot go on."""
        self._streamed, self._moved = {}, set()
        jobs = [asyncio.ensure_future(self._query_quiet())]
        try:
            while not any(job.done() for job in jobs):
                if symbols := self._symbols_to_stream():
                    if len(jobs) > MAX_STREAMS:  # some brokers need a request for each stream
                        raise _RestartStreamError
                    opened = _OpenStream()
                    self._streamed |= dict.fromkeys(symbols, opened)
                    jobs.append(asyncio.ensure_future(self._stream(opened, [*symbols.values()])))
                self._more_pairs.clear()
                more = asyncio.ensure_future(self._more_pairs.wait())
                try:
                    await asyncio.wait([*jobs, more], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    more.cancel()
        finally:
            for opened in self._streamed.values():
                opened.is_over = True
            for job in jobs:
                job.cancel()
            _, hung = await asyncio.wait(jobs, timeout=CLEANUP_SECONDS)
            for job in hung:  # its clean-up does not end
                job.cancel()
        for job in jobs:
            if job.done() and not job.cancelled() and (error := job.exception()) is not None:
                raise error

    def _symbols_to_stream(self) -> dict[str, str]:
        """Return the pairs for which to open a stream now, each with its symbol."""
        if not self._streams:
            return {}
        pairs = self._intake.symbols.keys() - self._unpriced.keys() - self._streamed.keys()
        return {pair: symbol for pair, symbol in self._intake.symbols.items() if pair in pairs}

    async def _stream(self, opened: _OpenStream, symbols: list[str]) -> None:
        """Accept the quotes of one stream. Raises ReadFailed when it ends."""
        stream = self._adapter.stream_quotes(self._spec, symbols)
        try:
            async for quote in stream:
                if opened.is_over:  # its clean-up does not end
                    return
                opened.received_at = machine_time()
                self._dropped.discard(quote.symbol)
                self._moved.discard(quote.symbol)
                self._accept(quote)
        finally:
            if isinstance(stream, AsyncGenerator):
                await outcome_of(_close(stream))
        raise ReadFailed(Code.BROKER_UNREACHABLE, "the price stream ended")

    async def _query_quiet(self) -> None:
        """Query each pair that is quiet. Raises ReadFailed if no pair has a current price."""
        while True:
            await asyncio.sleep(QUERY_EVERY)
            now = machine_time()
            if (
                now - max(self._intake.last_confirmed_at, self._began) > CONFIRMATION_SECONDS
                and not self._all_unpriced()
            ):
                raise ReadFailed(Code.BROKER_UNREACHABLE, "no price was received for a while")
            if 0 < self._unstreamed_until <= now:
                self._unstreamed_until = 0.0
                raise _RestartStreamError
            if self._capabilities.quotes and (pair := self._quietest(now)):
                await self._query(pair)

    @property
    def _capabilities(self) -> Capabilities:
        return self._adapter.capabilities(self._spec)

    async def _has_quotes(self) -> bool:
        return self._capabilities.quotes

    @property
    def _streams(self) -> bool:
        return self._capabilities.price_stream and not self._unstreamed_until

    def _all_unpriced(self) -> bool:
        return self._unpriced.keys() >= self._intake.symbols.keys()

    def _quietest(self, now: float) -> str | None:
        """Return the due pair whose last quote or query is oldest; None if no pair is due."""
        since = {
            pair: max(
                self._intake.confirmed_at.get(pair, self._began), self._queried.get(pair, 0.0)
            )
            for pair in self._intake.symbols
        }
        due = (pair for pair in since if self._is_due(pair, now, now - since[pair]))
        return min(due, key=since.__getitem__, default=None)

    def _is_due(self, pair: str, now: float, seconds: float) -> bool:
        if pair in self._unpriced:
            return self._unpriced[pair] <= now
        is_streamed = pair in self._streamed and pair not in self._dropped
        return seconds > (QUIET_SECONDS if is_streamed else QUERY_EVERY)

    async def _query(self, pair: str) -> bool:
        """Query one price. Return whether the broker answered.

        Raises _RestartStreamError if the stream should have sent that price, and BrokerError if
        further queries are useless.
        """
        before, self._queried[pair] = self._intake.last.get(pair), machine_time()
        try:
            quote = await self._fetch_quote(self._intake.symbols[pair])
        except _AdapterFaultError as error:  # the stream may quote this pair nevertheless
            log.warning("no price", pair=pair, error=error.detail)
            self._queried[pair] = machine_time() + RECHECK_SECONDS
            return self._record_unanswered(pair, error)
        except BrokerError as error:
            return self._record_unanswered(pair, error)
        if self._intake.last.get(pair) is not before:  # the stream sent a newer one meanwhile
            return True
        if not self._accept(quote):
            self._unpriced[pair] = machine_time() + RECHECK_SECONDS
            return True
        if pair not in self._streamed:
            self._more_pairs.set()  # it has a price now: a stream can be opened
            return True
        if before is None:
            self._dropped.add(pair)
        elif (before.bid, before.ask) != (quote.bid, quote.ask):
            self._dropped.add(pair)
            self._moved.add(pair)
        # It may have moved while the stream still sent other pairs, and stand still since then.
        quiet_since = self._streamed[pair].received_at
        if pair in self._moved and machine_time() - quiet_since > QUIET_SECONDS:
            raise _RestartStreamError
        return True

    async def _fetch_quote(self, symbol: str) -> Quote:
        """Return one quote of the broker. Raises BrokerError, whatever the adapter raises."""
        match await outcome_of(self._quote_in_time(symbol)):
            case BrokerError() as error:
                raise error
            case TimeoutError() as error:
                raise ReadFailed(Code.BROKER_UNREACHABLE, "no answer in time") from error
            case Exception() as error:
                raise _AdapterFaultError(Code.UNEXPECTED, repr(error)) from error
            case quote:
                return quote

    async def _quote_in_time(self, symbol: str) -> Quote:
        async with asyncio.timeout(QUERY_TIMEOUT):
            return await self._adapter.quote(self._spec, symbol)

    def _record_unanswered(self, pair: str, error: BrokerError) -> bool:
        """Record that a query failed. Return whether the broker answered it, with an error code.

        The price of this pair becomes stale; the other pairs are still queried. Raises the error if
        further queries are useless.
        """
        if is_of_symbol := error.code in SYMBOL_CODES:
            self._unpriced[pair] = machine_time() + RECHECK_SECONDS
            if not self._all_unpriced():
                return True
        if machine_time() - self._intake.last_confirmed_at > QUIET_SECONDS:
            self._intake.fail(error.code, error.detail)
            if error.code in NEEDS_OWNER and not self._streamed:
                raise error
        return is_of_symbol

    async def _without_a_symbol(self, pause: float) -> float:
        """Handle a stream that was rejected for one of its symbols.

        Returns the seconds to wait for the next stream. If no symbol is found to be the cause, all
        of them are only queried for a while.
        """
        if not await self._find_unpriced():
            if not self._capabilities.quotes:
                return pause
            self._unstreamed_until = machine_time() + RECHECK_SECONDS
        return 0.0

    async def _find_unpriced(self) -> bool:
        """Query the symbols to find those without a price: one may prevent the stream.

        Returns whether some were found, so that the others can be streamed at once.
        """
        any_unpriced = False
        for pair, symbol in self._intake.symbols.items():
            if pair in self._unpriced:
                continue
            try:
                self._accept(await self._fetch_quote(symbol))
            except BrokerError as error:
                if error.code not in SYMBOL_CODES:
                    return False
                self._unpriced[pair] = machine_time() + RECHECK_SECONDS
                any_unpriced = True
        return any_unpriced

    def _accept(self, quote: Quote) -> bool:
        """Queue a valid, current quote. Return whether it was one."""
        if not self._intake.accept(quote):
            return False
        self._unpriced.pop(quote.symbol, None)
        return True


async def _close(stream: AsyncGenerator[Quote, None]) -> None:
    async with asyncio.timeout(CLEANUP_SECONDS):
        await stream.aclose()
