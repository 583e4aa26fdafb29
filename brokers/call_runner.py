"""Calls to many brokers at once, each answer to be had as it comes.

Whoever waits for all of them waits for the slowest. Here what has come back meanwhile is handed out
in groups, on the caller's thread, where it has its database; a call that hangs holds up nobody, and
a host that answers nobody is given up for this time instead of being waited for call by call.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Generic, TypeVar

from brokers.host_limiter import HostLimiter

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, None]], None]
Call = Callable[[], Coroutine[Any, Any, T]]
GROUPING_SECONDS = 0.2  # after a first answer: what comes so soon after it is written with it
GROUP_WAIT_SECONDS = 60.0


class HostSkipped(Exception):
    """This call was not made, and proves nothing: its host answered none of those before, or its
    lane is another process's by now."""


@dataclass(slots=True)
class _Batch:
    left: int


@dataclass(frozen=True, slots=True)
class _BatchEnded:
    """A batch is over. error: why, if it is not the time that it may take."""

    error: Exception | None


class BrokerCallRunner(Generic[T]):
    """Calls under way and what has come back. For one consuming thread.

    run: drives a coroutine to its end; it is called on a thread of its own. seconds: for each call
    once it has its place, or for each of its parts, if it has several. least: places that a host
        has however little it manages.
    """

    def __init__(
        self,
        run: Run,
        *,
        in_all: int,
        per_host: int,
        seconds: float,
        parts: int = 1,
        least: int = 2,
    ) -> None:
        self._run, self._seconds, self._parts = run, seconds, parts
        self._limiter = HostLimiter(
            in_all=in_all, per_host=per_host, least=least, seconds=parts * seconds
        )
        self._results: SimpleQueue[tuple[_Batch, Any, T | Exception | _BatchEnded]] = SimpleQueue()
        self._answered_at: dict[str, float] = {}
        self._timed_out_at: dict[str, float] = {}
        self.left = 0

    def start(self, calls: Sequence[tuple[Any, Call[T]]]) -> None:
        """Begin calls, each about something that has a `broker_host`; returns at once."""
        if calls:
            self.left += len(calls)
            batch = _Batch(len(calls))
            threading.Thread(target=self._drive, args=(batch, calls), daemon=True).start()

    def group(self, patience: float) -> list[tuple[Any, T | Exception]]:
        """Return what has come back, with what it is about; waits so many seconds for the first.

        Raises what kept the calls from being made at all.
        """
        found: list[tuple[Any, T | Exception]] = []
        until = monotonic() + patience
        while self.left:
            try:
                batch, about, answer = self._results.get(timeout=max(0.0, until - monotonic()))
            except Empty:
                break
            if isinstance(answer, _BatchEnded):
                if answer.error is not None and found:  # first what has come back
                    self._results.put((batch, about, answer))
                    break
                self._end(batch)
                if answer.error is not None:
                    raise answer.error
            elif batch.left:
                batch.left -= 1
                self.left -= 1
                until = until if found else min(until, monotonic() + GROUPING_SECONDS)
                found.append((about, answer))
        return found

    def groups(self) -> Iterator[list[tuple[Any, T | Exception]]]:
        """Yield groups until nothing is under way any more."""
        while self.left:
            if found := self.group(GROUP_WAIT_SECONDS):
                yield found

    def _end(self, batch: _Batch) -> None:
        """Who has not answered by now is left out: that proves nothing."""
        self.left -= batch.left
        batch.left = 0

    def _drive(self, batch: _Batch, calls: Sequence[tuple[Any, Call[T]]]) -> None:
        ended = _BatchEnded(None)
        try:
            self._run(self._all(batch, calls))
        except TimeoutError:
            pass
        except Exception as error:  # told to whoever waits for answers
            ended = _BatchEnded(error)
        self._results.put((batch, None, ended))

    async def _all(self, batch: _Batch, calls: Sequence[tuple[Any, Call[T]]]) -> None:
        await asyncio.gather(*(self._one(batch, about, call) for about, call in calls))

    async def _one(self, batch: _Batch, about: Any, call: Call[T]) -> None:
        answer: T | Exception
        try:
            account = getattr(about, "connection_id", None)
            async with self._limiter.of(about.broker_host, account):
                answer = await self._call(about.broker_host, account, call)
        except Exception as error:
            answer = error
        self._results.put((batch, about, answer))

    async def _call(self, host: str, account: Any, call: Call[T]) -> T:
        began = monotonic()
        if self._timed_out_at.get(host, float("-inf")) > began - self._seconds:
            raise HostSkipped(host)
        try:
            async with (
                self._limiter.timed(host, account),
                asyncio.timeout(self._parts * self._seconds),
            ):
                answer = await call()
        except Exception:
            # An adapter has time-outs of its own: what took long was no answer either.
            if monotonic() - began > self._seconds / 2 and self._answered_at.get(host, 0) < began:
                self._timed_out_at[host] = monotonic()
            raise
        self._answered_at[host] = monotonic()
        self._timed_out_at.pop(host, None)
        return answer
