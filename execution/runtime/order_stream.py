"""One account's order stream: the task that listens to it, connects again, and states how it is.

It runs on the process's event loop. What fails here costs nothing but time: the account is polled
as if there was no stream.
"""

import asyncio
import random
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from datetime import datetime

import structlog

from brokers.base import BrokerError, OrderWatcher, ReadFailed, outcome_of
from brokers.types import ConnectionSpec
from common.clocks import machine_time, market_now
from common.reason_codes import Code

log = structlog.get_logger(__name__)
FIRST_PAUSE, MAX_PAUSE = 1.0, 60.0  # before a lost stream is opened again
REFUSED_PAUSE = 300.0  # exchanges count refusals; new settings or credentials try at once
STEADY_SECONDS = 60.0  # after which a lost stream counts as the first failure
REFUSALS = frozenset({
    Code.CREDENTIALS_REFUSED, Code.TRADING_DISABLED, Code.ACCOUNT_MISMATCH, Code.FIELD_INVALID,
    Code.LIBRARY_MISSING, Code.NOT_SUPPORTED, Code.NO_CREDENTIALS,
})  # fmt: skip
HOST_SECONDS = 1.0  # between two looks whether the host is up again


class OrderStream:
    """Listens to one account until `close`. since: from when on it has delivered without a gap;
    None: it does not. error: why not, as text. Both are read by another thread."""

    def __init__(
        self,
        watcher: OrderWatcher,
        spec: ConnectionSpec,
        loop: asyncio.AbstractEventLoop,
        on_news: Callable[[], None],
        may_connect: Callable[[], bool],
    ) -> None:
        """on_news: called on the loop, at once. may_connect: whether the broker may be called."""
        self._watcher, self._spec = watcher, spec
        self._on_news, self._may_connect = on_news, may_connect
        self.since: datetime | None = None
        self.error = ""
        self._ended = threading.Event()
        self._run: Future[None] = asyncio.run_coroutine_threadsafe(self._listen_on(), loop)

    def close(self) -> None:
        """Request its end; return at once."""
        self._run.cancel()

    def wait_ended(self, seconds: float) -> bool:
        """Wait for its end, at most so many seconds. Return whether it has ended."""
        return self._ended.wait(seconds)

    async def _listen_on(self) -> None:
        try:
            await self._listen_again_and_again()
        finally:
            self._ended.set()

    async def _listen_again_and_again(self) -> None:
        pause = FIRST_PAUSE
        while True:
            if not self._may_connect():
                await asyncio.sleep(HOST_SECONDS)
                continue
            began = machine_time()
            error = await outcome_of(self._listen())
            self._note_failure(error if isinstance(error, Exception) else _ended())
            if isinstance(error, BrokerError) and error.code in REFUSALS:
                pause = REFUSED_PAUSE
            elif pause >= REFUSED_PAUSE or machine_time() - began > STEADY_SECONDS:
                pause = FIRST_PAUSE
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, MAX_PAUSE) if pause < REFUSED_PAUSE else pause

    async def _listen(self) -> None:
        """Raises what the adapter raises when its stream has ended."""
        stream = self._watcher.watch_orders(self._spec)
        try:
            async for _ in stream:
                if self.since is None:
                    self._note_success()
                self._on_news()
        finally:
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()

    def _note_success(self) -> None:
        if self.error:
            log.info("order_stream_restored", connection=self._spec.connection_id)
        self.since, self.error = market_now(), ""
        self._on_news()  # what has changed before

    def _note_failure(self, error: Exception) -> None:
        """Log it once, until the stream delivers again or fails for another reason."""
        code = error.code if isinstance(error, BrokerError) else Code.UNEXPECTED
        detail = error.detail if isinstance(error, BrokerError) else repr(error)
        text = f"{code} {detail}".strip()[:300]
        if self.since is not None or self.error.partition(" ")[0] != code:
            log.warning(
                "order_stream_lost",
                connection=self._spec.connection_id,
                exchange=self._spec.exchange_name,
                code=str(code),
                detail=detail[:300],
                effect="The account is polled; connected again automatically.",
            )
            self._on_news()  # what came last may not have been announced
        self.since, self.error = None, text


def _ended() -> ReadFailed:
    return ReadFailed(Code.BROKER_UNREACHABLE, "the order stream ended")
