"""Call many brokers concurrently and return the results in groups, as they arrive.

A caller that waited for all calls would wait for the slowest. Here the results that have arrived
are returned as a group, on the caller's thread, which has the database connection. A call that
hangs delays no other call. After a time-out without any answer of a host, its further calls are
skipped for a while.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Generic, TypeVar

from brokers.base import outcome_of
from brokers.call_time import call_timeout
from brokers.host_limiter import HostLimiter

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, None]], None]
Call = Callable[[], Coroutine[Any, Any, T]]
GROUPING_SECONDS = 0.2
GROUP_WAIT_SECONDS = 60.0  # for the first result of a group


class HostSkipped(Exception):
    """The call was not made, which proves nothing: its host has not answered earlier calls, or
    another process has its lane now."""


@dataclass(slots=True)
class _Batch:
    """The calls of one `start`. remaining: how many have no result yet."""

    remaining: int


@dataclass(frozen=True, slots=True)
class _BatchEnded:
    """The end of a batch. error: what stopped it, unless it ran out of time."""

    error: Exception | None


class _Interruption:
    """Ends a wait for results."""


class BrokerCallRunner(Generic[T]):
    """Concurrent calls and their results. For one consuming thread.

    run: runs a coroutine to its end; it is called in a new thread. max_calls, max_per_host: limits
    of concurrent calls, of all hosts and of one. min_per_host: concurrent calls that are allowed
    even to an overloaded host. seconds: returns the time-out of one request of a call that begins
    now: a runner may live longer than a setting. requests_per_call: how many
    requests a call makes, one after another; a call may last as many times as long, from when it
    has a slot. grouping_seconds: results that arrive this soon after the first one are in its
    group. counts_waits: whether the time-out counts the wait for a broker's rate limit.
    """

    def __init__(
        self,
        run: Run,
        *,
        max_calls: int,
        max_per_host: int,
        seconds: Callable[[], float],
        requests_per_call: int = 1,
        min_per_host: int = 2,
        grouping_seconds: float = GROUPING_SECONDS,
        counts_waits: bool = True,
    ) -> None:
        self._timeout = asyncio.timeout if counts_waits else call_timeout
        self._grouping_seconds = grouping_seconds
        self._run, self._seconds, self._requests_per_call = run, seconds, requests_per_call
        self._limiter = HostLimiter(
            max_calls=max_calls,
            max_per_host=max_per_host,
            min_per_host=min_per_host,
            seconds=self._call_seconds,
        )
        self._results: SimpleQueue[
            tuple[_Batch, Any, T | Exception | _BatchEnded] | _Interruption
        ] = SimpleQueue()
        self._answered_at: dict[str, float] = {}
        self._timed_out_at: dict[str, float] = {}
        self.remaining = 0

    def start(self, calls: Sequence[tuple[Any, Call[T]]]) -> None:
        """Start calls, each with its subject, which has a `broker_host`. Returns at once."""
        if calls:
            self.remaining += len(calls)
            batch = _Batch(len(calls))
            threading.Thread(target=self._drive, args=(batch, calls), daemon=True).start()

    def group(self, timeout: float) -> list[tuple[Any, T | Exception]]:
        """Return (subject, result) of the calls that have ended. timeout: seconds, for the first.

        Raises the error that prevented the calls of a batch.
        """
        group: list[tuple[Any, T | Exception]] = []
        deadline = monotonic() + timeout
        while self.remaining:
            try:
                found = self._results.get(timeout=max(0.0, deadline - monotonic()))
            except Empty:
                break
            if isinstance(found, _Interruption):
                break
            batch, subject, result = found
            if isinstance(result, _BatchEnded):
                if result.error is not None and group:  # return the results first
                    self._results.put((batch, subject, result))
                    break
                self._end(batch)
                if result.error is not None:
                    raise result.error
            elif batch.remaining:
                batch.remaining -= 1
                self.remaining -= 1
                if not group:
                    deadline = min(deadline, monotonic() + self._grouping_seconds)
                group.append((subject, result))
        return group

    def interrupt(self) -> None:
        """Let a running `group`, else the next one, return what it has. From any thread."""
        if self.remaining:
            self._results.put(_Interruption())

    def groups(self) -> Iterator[list[tuple[Any, T | Exception]]]:
        """Yield groups until all calls have ended."""
        while self.remaining:
            if group := self.group(GROUP_WAIT_SECONDS):
                yield group

    def _end(self, batch: _Batch) -> None:
        """Drop the calls that have no result: that a call did not end proves nothing."""
        self.remaining -= batch.remaining
        batch.remaining = 0

    def _drive(self, batch: _Batch, calls: Sequence[tuple[Any, Call[T]]]) -> None:
        ended = _BatchEnded(None)
        try:
            self._run(self._all(batch, calls))
        except TimeoutError:
            pass
        except Exception as error:  # any: `group` raises it
            ended = _BatchEnded(error)
        self._results.put((batch, None, ended))

    async def _all(self, batch: _Batch, calls: Sequence[tuple[Any, Call[T]]]) -> None:
        await asyncio.gather(*(self._one(batch, subject, call) for subject, call in calls))

    async def _one(self, batch: _Batch, subject: Any, call: Call[T]) -> None:
        self._results.put((batch, subject, await outcome_of(self._limited(subject, call))))

    async def _limited(self, subject: Any, call: Call[T]) -> T:
        host, account = subject.broker_host, getattr(subject, "connection_id", None)
        async with self._limiter.slot(host, account):
            result = await self._call(host, account, call)
        if isinstance(result, Exception):
            raise result
        return result

    async def _call(self, host: str, account: Any, call: Call[T]) -> T | Exception:
        began, seconds = monotonic(), self._seconds()
        if self._timed_out_at.get(host, float("-inf")) > began - seconds:
            return HostSkipped(host)
        result = await outcome_of(self._timed(host, account, call))
        if not isinstance(result, Exception):
            self._answered_at[host] = monotonic()
            self._timed_out_at.pop(host, None)
        # Adapters have shorter time-outs of their own: a slow error is no answer either.
        elif monotonic() - began > seconds / 2 and self._answered_at.get(host, 0) < began:
            self._timed_out_at[host] = monotonic()
        return result

    async def _timed(self, host: str, account: Any, call: Call[T]) -> T:
        async with (
            self._limiter.timed(host, account),
            self._timeout(self._call_seconds()),
        ):
            return await call()

    def _call_seconds(self) -> float:
        return self._requests_per_call * self._seconds()
