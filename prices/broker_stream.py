"""One account's broker as a source of prices: followed on the process's loop, taken by its thread.

What its streams do not tell is asked for; how each way fails is told apart here. What counts as a
price stands in `quote_intake.py`.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime

import structlog

from brokers.account_capabilities import Capabilities
from brokers.base import BrokerAdapter, BrokerError, ReadFailed
from brokers.types import ConnectionSpec, Quote
from common.clocks import machine_time
from common.reason_codes import Code
from connections import session_lanes
from prices import event_loop
from prices.quote_intake import CONFIRMATION_SECONDS, QuoteIntake
from prices.stream_status import NEEDS_OWNER, SYMBOL_CODES, StreamStatus

log = structlog.get_logger(__name__)
MIN_PAUSE, MAX_PAUSE = 1.0, 60.0  # before a stream that broke is begun again
QUIET_SECONDS = 15.0  # a price that was not told for so long is asked for
QUERY_EVERY = 0.25  # from one such question to the next: 100 pairs stay fresh
QUERY_TIMEOUT = 10.0  # for an answer
MAX_UNANSWERED = 3  # in a row: no more is asked before the next stream
MAX_STREAMS = 8  # of one account: more are begun anew as one
RECHECK_SECONDS = 60.0  # at a symbol that has no price
CLEANUP_SECONDS = 2.0  # for an adapter to clean up after itself
LANE_CHECK_SECONDS = 0.2


class _RestartStreamError(Exception):
    """The stream is to begin anew at once."""


class BrokerStream:
    """Prices of some pairs by one account. `due` and `close` are called by the owner's thread."""

    def __init__(
        self,
        adapter: BrokerAdapter,
        spec: ConnectionSpec,
        lane: str,
        symbols: Mapping[str, str],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """symbols: canonical pairs and the broker's own symbols of them."""
        self._adapter, self._spec, self._lane = adapter, spec, lane
        self._intake = QuoteIntake(symbols, spec.credentials)
        self._ended = threading.Event()
        self._queried: dict[str, float] = {}  # when a pair was asked for
        self._unpriced: dict[str, float] = {}  # pairs without a price, until they are looked at
        self._streamed: set[str] = set()  # the pairs of the streams that are open
        self._dropped: set[str] = set()  # of them: quoted, and they did not tell
        self._more_pairs = asyncio.Event()  # there are pairs that nobody has begun to stream
        self._unstreamed_until = 0.0  # prices are only asked for
        self._streamed_at = self._began = 0.0
        self._loop = loop
        self._run: Future[None] = asyncio.run_coroutine_threadsafe(self._run_while_held(), loop)
        event_loop.register(self)

    # ---- for the thread that carries prices ------------------------------------------------
    def due(self, now: datetime) -> list[Quote]:
        """Return what came since the last call, in order."""
        return self._intake.due()

    def add_pairs(self, more: Mapping[str, str]) -> None:
        """Follow these pairs, too; what is followed already is told on without a gap."""
        self._intake.add(more)  # now: how it fares tells of them
        self._loop.call_soon_threadsafe(self._more_pairs.set)

    def close(self) -> None:
        """Follow no more. Returns at once; the broker is spoken to no longer than a moment."""
        self._run.cancel()

    def wait_ended(self, seconds: float) -> bool:
        """Wait so long for its end."""
        return self._ended.wait(seconds)

    @property
    def is_over(self) -> bool:
        """Whether it has ended: it was closed, or its lane is somebody else's now."""
        return self._ended.is_set()

    def status(self) -> StreamStatus:
        """Return how it fares now."""
        return self._intake.status()

    # ---- on the loop -------------------------------------------------------------------------
    async def _run_while_held(self) -> None:
        """Follow for as long as the lane is ours."""
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
            self._began, before, may_query = machine_time(), self._intake.last_confirmed_at, False
            try:
                may_query = self._capabilities.quotes
                await self._follow()
            except _RestartStreamError:
                pause = 0.0
            except BrokerError as error:
                self._intake.fail(error.code, error.detail)
                if error.code in NEEDS_OWNER:
                    pause, may_query = MAX_PAUSE, False
                elif error.code in SYMBOL_CODES:
                    pause = await self._without_a_symbol(pause)
            except Exception as error:  # an adapter's own fault; its neighbours go on
                log.warning("prices broke", connection=self._spec.connection_id, error=repr(error))
                self._intake.fail(Code.UNEXPECTED, repr(error))
            if self._intake.last_confirmed_at > before:
                pause = min(pause, MIN_PAUSE)
            await self._pause(pause, may_query=may_query)
            pause = min(max(pause, MIN_PAUSE / 2) * 2, MAX_PAUSE)

    async def _pause(self, seconds: float, *, may_query: bool) -> None:
        """Wait before the next stream. Prices are asked for meanwhile, for as long as there are
        answers: who only fails to stream leaves no stop unjudged."""
        self._streamed, unanswered, until = set(), 0, machine_time() + seconds
        while (left := until - machine_time()) > 0:
            await asyncio.sleep(min(left, QUERY_EVERY) if may_query else left)
            if may_query and (pair := self._quietest(machine_time())):
                try:
                    unanswered = 0 if await self._query(pair) else unanswered + 1
                except BrokerError:
                    may_query = False
                except Exception as error:  # an adapter's own fault, as in its stream
                    log.warning("no price", pair=pair, error=repr(error))
                    self._intake.fail(Code.UNEXPECTED, repr(error))
                    may_query = False
                may_query = may_query and unanswered < MAX_UNANSWERED
        await asyncio.sleep(0)  # who is to end is heard, however often this begins anew

    async def _follow(self) -> None:
        """Stream what has prices, and ask for what is quiet. Raises when that cannot go on."""
        self._streamed, jobs = set(), [asyncio.ensure_future(self._query_quiet())]
        try:
            while not any(job.done() for job in jobs):
                if symbols := self._pairs_to_stream():
                    if len(jobs) > MAX_STREAMS:  # some of them cost a question each
                        raise _RestartStreamError
                    jobs.append(asyncio.ensure_future(self._stream(symbols)))
                self._more_pairs.clear()
                more = asyncio.ensure_future(self._more_pairs.wait())
                try:
                    await asyncio.wait([*jobs, more], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    more.cancel()
        finally:
            for job in jobs:
                job.cancel()
            _, hung = await asyncio.wait(jobs, timeout=CLEANUP_SECONDS)
            for job in hung:  # it cleans up for ever
                job.cancel()
        for job in jobs:
            if job.done() and not job.cancelled() and (error := job.exception()) is not None:
                raise error

    def _pairs_to_stream(self) -> list[str]:
        """Return the symbols for which a stream is to be opened now, and take it as open."""
        if not self._streams:
            return []
        pairs = self._intake.symbols.keys() - self._unpriced.keys() - self._streamed
        if pairs and not self._streamed:
            self._streamed_at = machine_time()
        self._streamed |= pairs
        return [one for pair, one in self._intake.symbols.items() if pair in pairs]

    async def _stream(self, symbols: list[str]) -> None:
        stream = self._adapter.stream_quotes(self._spec, symbols)
        try:
            async for quote in stream:
                self._streamed_at = machine_time()
                self._dropped.discard(quote.symbol)
                self._accept(quote)
        finally:
            if isinstance(stream, AsyncGenerator):
                with suppress(Exception):
                    async with asyncio.timeout(CLEANUP_SECONDS):
                        await stream.aclose()
        raise ReadFailed(Code.BROKER_UNREACHABLE, "its stream of prices has ended")

    async def _query_quiet(self) -> None:
        """Ask for each price that nobody told for a while. Raises where all is silent."""
        while True:
            await asyncio.sleep(QUERY_EVERY)
            now = machine_time()
            if (
                now - max(self._intake.last_confirmed_at, self._began) > CONFIRMATION_SECONDS
                and not self._all_unpriced()
            ):
                raise ReadFailed(Code.BROKER_UNREACHABLE, "no price has been told for a while")
            if 0 < self._unstreamed_until <= now:
                self._unstreamed_until = 0.0
                raise _RestartStreamError
            if self._capabilities.quotes and (pair := self._quietest(now)):
                await self._query(pair)

    @property
    def _capabilities(self) -> Capabilities:
        return self._adapter.capabilities(self._spec)

    @property
    def _streams(self) -> bool:
        return self._capabilities.price_stream and not self._unstreamed_until

    def _all_unpriced(self) -> bool:
        return self._unpriced.keys() >= self._intake.symbols.keys()

    def _quietest(self, now: float) -> str | None:
        """Of the pairs that are due, the one that was neither told nor asked for longest."""
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
        is_told = pair in self._streamed and pair not in self._dropped
        return seconds > (QUIET_SECONDS if is_told else QUERY_EVERY)

    async def _query(self, pair: str) -> bool:
        """Ask for one price. Returns whether its broker answered. Raises _AgainError where the
        stream should have told it, BrokerError where nobody is to be asked."""
        before, self._queried[pair] = self._intake.last.get(pair), machine_time()
        try:
            async with asyncio.timeout(QUERY_TIMEOUT):
                quote = await self._adapter.quote(self._spec, self._intake.symbols[pair])
        except TimeoutError:
            return self._record_unanswered(
                pair, ReadFailed(Code.BROKER_UNREACHABLE, "no answer in time")
            )
        except BrokerError as error:
            return self._record_unanswered(pair, error)
        except Exception as error:  # an adapter's own fault: its stream may tell this pair
            log.warning("no price", pair=pair, error=repr(error))
            self._queried[pair] = machine_time() + RECHECK_SECONDS
            return self._record_unanswered(pair, ReadFailed(Code.UNEXPECTED, repr(error)))
        if self._intake.last.get(pair) is not before:  # told meanwhile: the newer one
            return True
        if not self._accept(quote):
            self._unpriced[pair] = machine_time() + RECHECK_SECONDS
            return True
        if pair not in self._streamed:
            self._more_pairs.set()  # it has a price now
            return True
        moved = before is not None and (before.bid, before.ask) != (quote.bid, quote.ask)
        if moved and machine_time() - self._streamed_at > QUIET_SECONDS:
            raise _RestartStreamError
        if moved or before is None:
            self._dropped.add(pair)
        return True

    def _record_unanswered(self, pair: str, error: BrokerError) -> bool:
        """A price could not be asked for: it grows stale. The others are asked for meanwhile.
        Returns whether its broker answered. Raises the error where nobody is to be asked."""
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
        """A stream was refused for one of its symbols. Returns how long to wait for the next one:
        where none can be found to be at fault all are only asked for."""
        if not await self._find_unpriced():
            if not self._capabilities.quotes:
                return pause
            self._unstreamed_until = machine_time() + RECHECK_SECONDS
        return 0.0

    async def _find_unpriced(self) -> bool:
        """Find the symbols that have no price: one of them may keep a stream from beginning.

        Returns whether some have been found, so that the others can be followed at once."""
        found = False
        for pair, symbol in self._intake.symbols.items():
            if pair in self._unpriced:
                continue
            try:
                async with asyncio.timeout(QUERY_TIMEOUT):
                    self._accept(await self._adapter.quote(self._spec, symbol))
            except BrokerError as error:
                if error.code not in SYMBOL_CODES:
                    return False
                self._unpriced[pair] = machine_time() + RECHECK_SECONDS
                found = True
            except Exception:
                return False
        return found

    def _accept(self, quote: Quote) -> bool:
        """Keep a price that makes sense. Returns whether it did and is one of now."""
        if not self._intake.accept(quote):
            return False
        self._unpriced.pop(quote.symbol, None)
        return True
