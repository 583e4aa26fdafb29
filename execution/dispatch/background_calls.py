"""Background calls: calls to brokers that are no orders of ours: cancels, moved levels, look-ups.

Nobody waits for them. They have places of their own beside the orders', of which one host gets a
share; each has a time-out; and what came of it goes through the outbox to the report writer, which
hands it to whoever writes it down. What is not answered stays wanted on its row and is asked again;
what never got a place is not counted as asked (`NotAsked`). A call begins in a lane of this process
only; what waits for its place keeps no lane from being given back.
"""

import asyncio
import threading
from collections.abc import Callable, Collection, Coroutine, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from brokers.base import NotSent
from brokers.call_runner import HostSkipped
from brokers.host_limiter import CallPriority, HostLimiter
from common.clocks import machine_time
from common.reason_codes import Code

MAX_CONCURRENT, MAX_PER_HOST, MIN_PER_HOST = 500, 100, 2


@dataclass(frozen=True, slots=True)
class BackgroundCall:
    """One call. key: a second one of it is not begun meanwhile; about: the row it was asked for,
    with its `connection_id`, `broker_host` and `lane`; write: gets what came of this and other
    background calls at once. priority: which go first. patience: for how many time-outs it
    may wait for its place; its row must be claimed for
    `BackgroundCallRunner.max_seconds(patience)`."""

    key: Hashable
    about: Any
    call: Callable[[], Coroutine[Any, Any, Any]]
    write: "Callable[[Sequence[CallResult]], object]"
    priority: CallPriority = CallPriority.FIRST
    patience: int = 1


@dataclass(frozen=True, slots=True)
class CallResult:
    """What a background call ended in: the adapter's answer or an exception."""

    background_call: BackgroundCall
    answer: Any
    ended_at: float = field(default_factory=machine_time)

    @property
    def about(self) -> Any:
        """The row that was asked for."""
        return self.background_call.about

    @property
    def failed(self) -> bool:
        """Whether there is no answer."""
        return isinstance(self.answer, BaseException)

    @property
    def had_slot(self) -> bool:
        """Whether it had a place for its call: else nothing can be concluded, not even silence."""
        return not isinstance(self.answer, HostSkipped)

    @property
    def may_have_been_sent(self) -> bool:
        """Whether its request left, or may have left."""
        return not isinstance(self.answer, HostSkipped | NotSent)


class BackgroundCallRunner:
    """The background calls of one process, on its dispatcher's event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_result: Callable[[CallResult], None],
        timeout: float,
        may_begin: Callable[[str], bool] = lambda lane: True,
    ) -> None:
        """may_begin: whether a call may begin in a lane now (`lane_leases.LaneLeaseManager`)."""
        self._loop, self._on_result, self._timeout = loop, on_result, timeout
        self._may_begin = may_begin
        self._host_limiter = HostLimiter(
            in_all=MAX_CONCURRENT, per_host=MAX_PER_HOST, least=MIN_PER_HOST, seconds=timeout
        )
        self._under_way: dict[Hashable, str] = {}  # with their lanes
        self._in_slot: dict[Hashable, str] = {}  # those of them that have their place
        self._waiting: dict[asyncio.Timeout, str] = {}  # and those that wait for it; loop only
        self._changed = threading.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def max_seconds(self, patience: int = 1) -> float:
        """Seconds after which a background call of this patience has surely ended: it may wait for
        its place, then be made. A row that is asked about belongs to its asker for so long."""
        return (patience + 1) * self._timeout + 1

    def start(self, calls: Sequence[BackgroundCall]) -> None:
        """Begin what is not under way already; returns at once. From any thread."""
        with self._changed:
            fresh = [call for call in calls if call.key not in self._under_way]
            self._under_way |= {call.key: call.about.lane for call in fresh}
        if fresh:
            self._loop.call_soon_threadsafe(self._begin, fresh, machine_time())

    def is_lane_busy(self, lane: str) -> bool:
        """Whether a call of this lane has its place, until its end lies in the outbox."""
        with self._changed:
            return lane in self._in_slot.values()

    def cancel_queued(self, lanes: Collection[str] | None = None) -> None:
        """End what waits for its place (of these lanes): others may make it. From any thread."""
        self._loop.call_soon_threadsafe(self._cancel_queued, lanes)

    @contextmanager
    def tracked(self, lane: str) -> Iterator[None]:
        """Count a call as under way that somebody waits for, and so is no background call."""
        key = object()
        with self._changed:
            self._under_way[key] = self._in_slot[key] = lane
        try:
            yield
        finally:
            with self._changed:
                del self._under_way[key], self._in_slot[key]
                self._changed.notify_all()

    def wait_idle(self, timeout: float) -> bool:
        """Wait until none is under way; False when the time is over first."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._under_way, timeout)

    def _begin(self, calls: Sequence[BackgroundCall], now: float) -> None:
        for call in calls:
            send_by = now + call.patience * self._timeout
            task = self._loop.create_task(self._run(call, send_by))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _cancel_queued(self, lanes: Collection[str] | None) -> None:
        for limit, lane in self._waiting.items():
            if (lanes is None or lane in lanes) and not limit.expired():
                limit.reschedule(self._loop.time())

    async def _run(self, call: BackgroundCall, send_by: float) -> None:
        try:
            answer = await self._call(call, send_by)
        except Exception as error:  # outcomes, time-outs and our own bugs: all are told
            answer = error
        self._on_result(CallResult(call, answer))
        with self._changed:  # last: who waits until all is idle finds all of it told
            self._under_way.pop(call.key, None)
            self._in_slot.pop(call.key, None)
            self._changed.notify_all()

    async def _call(self, call: BackgroundCall, send_by: float) -> Any:
        host, account = call.about.broker_host, call.about.connection_id
        slot = self._host_limiter.of(host, account, call.priority)
        has_slot = False
        try:
            async with asyncio.timeout(call.patience * self._timeout) as limit:
                self._waiting[limit] = call.about.lane
                try:
                    async with slot:
                        has_slot = True
                        self._begin_call(call, limit, send_by)
                        async with self._host_limiter.timed(host, account):
                            return await call.call()
                finally:
                    self._waiting.pop(limit, None)
        except TimeoutError:
            if has_slot:
                raise
            raise HostSkipped(host) from None

    def _begin_call(self, call: BackgroundCall, limit: asyncio.Timeout, send_by: float) -> None:
        """It has its place, and from now on the time of its call. Raises what keeps it back."""
        del self._waiting[limit]
        lane = call.about.lane
        with self._changed:  # first: who gives the lane back sees it, or it sees that
            self._in_slot[call.key] = lane
        if not self._may_begin(lane):
            raise HostSkipped(call.about.broker_host)
        if machine_time() > send_by:  # this process was stopped: it may be old
            raise NotSent(Code.SEND_DEADLINE)
        limit.reschedule(self._loop.time() + self._timeout)
