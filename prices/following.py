"""One account's broker as a source of prices: followed on the process's loop, taken by its thread.

What its streams do not tell is asked for; how each way fails is told apart here. What counts as a
price stands in `heard.py`.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime

import structlog

from brokers.base import BrokerAdapter, BrokerError, ReadFailed
from brokers.messages import Capabilities, ConnectionSpec, Quote
from common.clocks import machine_time
from common.codes import Code
from connections import lanes
from prices import loops
from prices.fares import OF_A_SYMBOL, PATIENT, Fares
from prices.heard import DEAD_SECONDS, Heard

log = structlog.get_logger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # before a stream that broke is begun again
QUIET_SECONDS = 15.0  # a price that was not told for so long is asked for
LOOKS_EVERY = 0.25  # from one such question to the next: 100 pairs stay fresh
LOOK_SECONDS = 10.0  # for an answer
MOST_UNANSWERED = 3  # in a row: no more is asked before the next stream
MOST_STREAMS = 8  # of one account: more are begun anew as one
UNTIL_LOOKED_AGAIN = 60.0  # at a symbol that has no price
LEAVE_SECONDS = 2.0  # for an adapter to clean up after itself
LANE_SECONDS = 0.2


class _AgainError(Exception):
    """The stream is to begin anew at once."""


class BrokerStream:
    """Prices of some pairs by one account. `due` and `close` are called by the owner's thread."""

    def __init__(
        self,
        adapter: BrokerAdapter,
        spec: ConnectionSpec,
        lane: str,
        wanted: Mapping[str, str],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """wanted: canonical pairs and the broker's own symbols of them."""
        self._adapter, self._spec, self._lane = adapter, spec, lane
        self._heard = Heard(wanted, spec.credentials)
        self._ended = threading.Event()
        self._looked: dict[str, float] = {}  # when a pair was asked for
        self._aside: dict[str, float] = {}  # pairs without a price, until they are looked at
        self._streamed: set[str] = set()  # the pairs of the streams that are open
        self._dropped: set[str] = set()  # of them: quoted, and they did not tell
        self._more = asyncio.Event()  # there are pairs that nobody has begun to stream
        self._unstreamed_until = 0.0  # prices are only asked for
        self._streamed_at = self._began = 0.0
        self._loop = loop
        self._run: Future[None] = asyncio.run_coroutine_threadsafe(self._live(), loop)
        loops.enter(self)

    # ---- for the thread that carries prices ------------------------------------------------
    def due(self, now: datetime) -> list[Quote]:
        """Return what came since the last call, in order."""
        return self._heard.due()

    def follow_also(self, more: Mapping[str, str]) -> None:
        """Follow these pairs, too; what is followed already is told on without a gap."""
        self._heard.add(more)  # now: how it fares tells of them
        self._loop.call_soon_threadsafe(self._more.set)

    def close(self) -> None:
        """Follow no more. Returns at once; the broker is spoken to no longer than a moment."""
        self._run.cancel()

    def has_left(self, seconds: float) -> bool:
        """Wait so long for its end."""
        return self._ended.wait(seconds)

    @property
    def is_over(self) -> bool:
        """Whether it has ended: it was closed, or its lane is somebody else's now."""
        return self._ended.is_set()

    def fares(self) -> Fares:
        """Return how it fares now."""
        return self._heard.fares()

    # ---- on the loop -------------------------------------------------------------------------
    async def _live(self) -> None:
        """Follow for as long as the lane is ours."""
        following = asyncio.ensure_future(self._always())
        try:
            while not following.done() and self._lane in lanes.held():
                await asyncio.wait({following}, timeout=LANE_SECONDS)
        finally:
            following.cancel()
            await asyncio.wait({following}, timeout=2 * LEAVE_SECONDS)
            self._ended.set()

    async def _always(self) -> None:
        pause = FIRST_PAUSE
        while True:
            self._began, before, asks = machine_time(), self._heard.told_at, False
            try:
                asks = self._can.quotes
                await self._follow()
            except _AgainError:
                pause = 0.0
            except BrokerError as error:
                self._heard.fail(error.code, error.detail)
                if error.code in PATIENT:
                    pause, asks = LONGEST_PAUSE, False
                elif error.code in OF_A_SYMBOL:
                    pause = await self._without_a_symbol(pause)
            except Exception as error:  # an adapter's own fault; its neighbours go on
                log.warning("prices broke", connection=self._spec.connection_id, error=repr(error))
                self._heard.fail(Code.UNEXPECTED, repr(error))
            if self._heard.told_at > before:
                pause = min(pause, FIRST_PAUSE)
            await self._rest(pause, asks=asks)
            pause = min(max(pause, FIRST_PAUSE / 2) * 2, LONGEST_PAUSE)

    async def _rest(self, seconds: float, *, asks: bool) -> None:
        """Wait before the next stream. Prices are asked for meanwhile, for as long as there are
        answers: who only fails to stream leaves no stop unjudged."""
        self._streamed, unanswered, until = set(), 0, machine_time() + seconds
        while (left := until - machine_time()) > 0:
            await asyncio.sleep(min(left, LOOKS_EVERY) if asks else left)
            if asks and (pair := self._quiet(machine_time())):
                try:
                    unanswered = 0 if await self._look(pair) else unanswered + 1
                except BrokerError:
                    asks = False
                except Exception as error:  # an adapter's own fault, as in its stream
                    log.warning("no price", pair=pair, error=repr(error))
                    self._heard.fail(Code.UNEXPECTED, repr(error))
                    asks = False
                asks = asks and unanswered < MOST_UNANSWERED
        await asyncio.sleep(0)  # who is to end is heard, however often this begins anew

    async def _follow(self) -> None:
        """Stream what has prices, and ask for what is quiet. Raises when that cannot go on."""
        self._streamed, jobs = set(), [asyncio.ensure_future(self._look_at_quiet())]
        try:
            while not any(job.done() for job in jobs):
                if symbols := self._not_streamed():
                    if len(jobs) > MOST_STREAMS:  # some of them cost a question each
                        raise _AgainError
                    jobs.append(asyncio.ensure_future(self._stream(symbols)))
                self._more.clear()
                more = asyncio.ensure_future(self._more.wait())
                try:
                    await asyncio.wait([*jobs, more], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    more.cancel()
        finally:
            for job in jobs:
                job.cancel()
            _, hung = await asyncio.wait(jobs, timeout=LEAVE_SECONDS)
            for job in hung:  # it cleans up for ever
                job.cancel()
        for job in jobs:
            if job.done() and not job.cancelled() and (error := job.exception()) is not None:
                raise error

    def _not_streamed(self) -> list[str]:
        """Return the symbols for which a stream is to be opened now, and take it as open."""
        if not self._streams:
            return []
        pairs = self._heard.symbols.keys() - self._aside.keys() - self._streamed
        if pairs and not self._streamed:
            self._streamed_at = machine_time()
        self._streamed |= pairs
        return [one for pair, one in self._heard.symbols.items() if pair in pairs]

    async def _stream(self, symbols: list[str]) -> None:
        stream = self._adapter.stream_quotes(self._spec, symbols)
        try:
            async for quote in stream:
                self._streamed_at = machine_time()
                self._dropped.discard(quote.symbol)
                self._take(quote)
        finally:
            if isinstance(stream, AsyncGenerator):
                with suppress(Exception):
                    async with asyncio.timeout(LEAVE_SECONDS):
                        await stream.aclose()
        raise ReadFailed(Code.BROKER_UNREACHABLE, "its stream of prices has ended")

    async def _look_at_quiet(self) -> None:
        """Ask for each price that nobody told for a while. Raises where all is silent."""
        while True:
            await asyncio.sleep(LOOKS_EVERY)
            now = machine_time()
            if now - max(self._heard.told_at, self._began) > DEAD_SECONDS and not self._all_aside():
                raise ReadFailed(Code.BROKER_UNREACHABLE, "no price has been told for a while")
            if 0 < self._unstreamed_until <= now:
                self._unstreamed_until = 0.0
                raise _AgainError
            if self._can.quotes and (pair := self._quiet(now)):
                await self._look(pair)

    @property
    def _can(self) -> Capabilities:
        return self._adapter.capabilities(self._spec)

    @property
    def _streams(self) -> bool:
        return self._can.price_stream and not self._unstreamed_until

    def _all_aside(self) -> bool:
        return self._aside.keys() >= self._heard.symbols.keys()

    def _quiet(self, now: float) -> str | None:
        """Of the pairs that are due, the one that was neither told nor asked for longest."""
        since = {
            pair: max(self._heard.told.get(pair, self._began), self._looked.get(pair, 0.0))
            for pair in self._heard.symbols
        }
        due = (pair for pair in since if self._is_due(pair, now, now - since[pair]))
        return min(due, key=since.__getitem__, default=None)

    def _is_due(self, pair: str, now: float, seconds: float) -> bool:
        if pair in self._aside:
            return self._aside[pair] <= now
        is_told = pair in self._streamed and pair not in self._dropped
        return seconds > (QUIET_SECONDS if is_told else LOOKS_EVERY)

    async def _look(self, pair: str) -> bool:
        """Ask for one price. Returns whether its broker answered. Raises _AgainError where the
        stream should have told it, BrokerError where nobody is to be asked."""
        before, self._looked[pair] = self._heard.last.get(pair), machine_time()
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                quote = await self._adapter.quote(self._spec, self._heard.symbols[pair])
        except TimeoutError:
            return self._unanswered(pair, ReadFailed(Code.BROKER_UNREACHABLE, "no answer in time"))
        except BrokerError as error:
            return self._unanswered(pair, error)
        except Exception as error:  # an adapter's own fault: its stream may tell this pair
            log.warning("no price", pair=pair, error=repr(error))
            self._looked[pair] = machine_time() + UNTIL_LOOKED_AGAIN
            return self._unanswered(pair, ReadFailed(Code.UNEXPECTED, repr(error)))
        if self._heard.last.get(pair) is not before:  # told meanwhile: the newer one
            return True
        if not self._take(quote):
            self._aside[pair] = machine_time() + UNTIL_LOOKED_AGAIN
            return True
        if pair not in self._streamed:
            self._more.set()  # it has a price now
            return True
        moved = before is not None and (before.bid, before.ask) != (quote.bid, quote.ask)
        if moved and machine_time() - self._streamed_at > QUIET_SECONDS:
            raise _AgainError
        if moved or before is None:
            self._dropped.add(pair)
        return True

    def _unanswered(self, pair: str, error: BrokerError) -> bool:
        """A price could not be asked for: it grows stale. The others are asked for meanwhile.
        Returns whether its broker answered. Raises the error where nobody is to be asked."""
        if is_of_symbol := error.code in OF_A_SYMBOL:
            self._aside[pair] = machine_time() + UNTIL_LOOKED_AGAIN
            if not self._all_aside():
                return True
        if machine_time() - self._heard.told_at > QUIET_SECONDS:
            self._heard.fail(error.code, error.detail)
            if error.code in PATIENT and not self._streamed:
                raise error
        return is_of_symbol

    async def _without_a_symbol(self, pause: float) -> float:
        """A stream was refused for one of its symbols. Returns how long to wait for the next one:
        where none can be found to be at fault all are only asked for."""
        if not await self._sift():
            if not self._can.quotes:
                return pause
            self._unstreamed_until = machine_time() + UNTIL_LOOKED_AGAIN
        return 0.0

    async def _sift(self) -> bool:
        """Find the symbols that have no price: one of them may keep a stream from beginning.

        Returns whether some have been found, so that the others can be followed at once."""
        found = False
        for pair, symbol in self._heard.symbols.items():
            if pair in self._aside:
                continue
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    self._take(await self._adapter.quote(self._spec, symbol))
            except BrokerError as error:
                if error.code not in OF_A_SYMBOL:
                    return False
                self._aside[pair] = machine_time() + UNTIL_LOOKED_AGAIN
                found = True
            except Exception:
                return False
        return found

    def _take(self, quote: Quote) -> bool:
        """Keep a price that makes sense. Returns whether it did and is one of now."""
        if not self._heard.take(quote):
            return False
        self._aside.pop(quote.symbol, None)
        return True
