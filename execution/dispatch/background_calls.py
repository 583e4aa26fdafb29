"""Background calls to brokers: cancels, level changes and look-ups.

No thread waits for them. They have slots apart from those of orders, and one host gets only a share
of these. Each call has a time-out. Its result goes through the dispatcher's queue to the report
writer, which passes it to the call's own writer. The row of a call without an answer stays due, and
the call is made again; a call that got no slot does not count as made (`HostSkipped`). A call
starts only in a lane of this process; a call that waits for its slot does not delay the release of
its lane.

`brokers.call_runner` also makes concurrent calls, but for one thread that waits for the answers.
"""

import asyncio
import threading
from collections.abc import Callable, Collection, Coroutine, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from brokers.base import NotSent, outcome_of
from brokers.call_runner import HostSkipped
from brokers.host_limiter import CallPriority, HostLimiter
from common.clocks import machine_time
from common.operational.current import settings_now
from common.reason_codes import Code

MAX_CONCURRENT, MAX_PER_HOST, MIN_PER_HOST = 500, 100, 2


@dataclass(frozen=True, slots=True)
class BackgroundCall:
    """One call.

    key: a second call with the same key is not started meanwhile. about: the row that it is for,
    with its `connection_id`, `broker_host` and `lane`. write: gets the results of this and other
    calls at once. patience: how many time-outs it may wait for its slot; its row must be claimed
    for `BackgroundCallRunner.max_seconds(patience)`.
    """

    key: Hashable
    about: Any
    call: Callable[[], Coroutine[Any, Any, Any]]
    write: "Callable[[Sequence[CallResult]], object]"
    priority: CallPriority = CallPriority.FIRST
    patience: int = 1


@dataclass(frozen=True, slots=True)
class CallResult:
    """The result of a background call. answer: the adapter's answer or an exception."""

    background_call: BackgroundCall
    answer: Any
    ended_at: float = field(default_factory=machine_time)

    @property
    def about(self) -> Any:
        """The row that the call was for."""
        return self.background_call.about

    @property
    def failed(self) -> bool:
        """Whether the call ended in an exception."""
        return isinstance(self.answer, BaseException)

    @property
    def had_slot(self) -> bool:
        """Whether the call got a slot. If not, it was not made, and proves nothing."""
        return not isinstance(self.answer, HostSkipped)

    @property
    def may_have_been_sent(self) -> bool:
        """Whether its request was sent, or may have been."""
        return not isinstance(self.answer, HostSkipped | NotSent)


def send_deadline() -> float:
    """Return the send deadline (machine time) of requests that are claimed next.

    Take it before the claim: a process may be suspended at any point after it.
    """
    return machine_time() + float(settings_now().execution.send_deadline_seconds)


class BackgroundCallRunner:
    """The background calls of one process, on its dispatcher's event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_result: Callable[[CallResult], None],
        timeout: Callable[[], float],
        may_begin: Callable[[str], bool] = lambda lane: True,
    ) -> None:
        """may_begin: whether a call may start in a lane now (`lane_leases.LaneLeaseManager`).

        on_result: called on the loop. timeout: returns the seconds of a call that starts now.
        """
        self._loop, self._on_result, self._timeout = loop, on_result, timeout
        self._may_begin = may_begin
        self._host_limiter = HostLimiter(
            max_calls=MAX_CONCURRENT,
            max_per_host=MAX_PER_HOST,
            min_per_host=MIN_PER_HOST,
            seconds=timeout,
        )
        self._in_flight: dict[Hashable, str] = {}  # lanes, by key
        self._in_slot: dict[Hashable, str] = {}  # those of them that have a slot
        self._awaited = 0  # results that are not in the queue yet
        self._waiting: dict[asyncio.Timeout, str] = {}  # lanes of those that wait; loop only
        self._changed = threading.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def max_seconds(self, patience: int = 1) -> float:
        """Return the seconds after which a call has certainly ended: it waits for a slot, then is
        made. Its row must be claimed for that long."""
        return (patience + 1) * self._timeout() + 1

    def start(self, calls: Sequence[BackgroundCall]) -> None:
        """Start the calls that are not in flight already; return at once. From any thread."""
        with self._changed:
            new = [call for call in calls if call.key not in self._in_flight]
            self._in_flight |= {call.key: call.about.lane for call in new}
            self._awaited += len(new)
        if new:
            self._loop.call_soon_threadsafe(self._begin, new, machine_time())

    def awaits_results(self) -> bool:
        """Return whether the result of a call is still to come. From any thread."""
        return self._awaited > 0

    def keys_in_flight(self) -> list[Hashable]:
        """Return the keys of the calls that have not ended. From any thread."""
        with self._changed:
            return list(self._in_flight)

    def is_lane_busy(self, lane: str) -> bool:
        """Return whether a call of this lane has a slot or its result is not in the queue yet."""
        with self._changed:
            return lane in self._in_slot.values()

    def cancel_queued(self, lanes: Collection[str] | None = None) -> None:
        """End the calls that wait for a slot (in these lanes, or in all). From any thread."""
        self._loop.call_soon_threadsafe(self._cancel_queued, lanes)

    @contextmanager
    def tracked(self, lane: str) -> Iterator[None]:
        """Count a call as in flight whose caller waits for it, so that its lane is busy."""
        key = object()
        with self._changed:
            self._in_flight[key] = self._in_slot[key] = lane
        try:
            yield
        finally:
            with self._changed:
                del self._in_flight[key], self._in_slot[key]
                self._changed.notify_all()

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no call is in flight; return False after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._in_flight, timeout)

    def _begin(self, calls: Sequence[BackgroundCall], now: float) -> None:
        for call in calls:
            seconds = self._timeout()
            send_by = now + call.patience * seconds
            task = self._loop.create_task(self._run(call, send_by, seconds))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _cancel_queued(self, lanes: Collection[str] | None) -> None:
        for limit, lane in self._waiting.items():
            if (lanes is None or lane in lanes) and not limit.expired():
                limit.reschedule(self._loop.time())

    async def _run(self, call: BackgroundCall, send_by: float, seconds: float) -> None:
        answer = await outcome_of(self._call(call, send_by, seconds))
        with self._changed:
            self._awaited -= 1
        self._on_result(CallResult(call, answer))
        with self._changed:  # last: after `wait_idle` all results are in the queue
            self._in_flight.pop(call.key, None)
            self._in_slot.pop(call.key, None)
            self._changed.notify_all()

    async def _call(self, call: BackgroundCall, send_by: float, seconds: float) -> Any:
        host, account = call.about.broker_host, call.about.connection_id
        slot = self._host_limiter.slot(host, account, call.priority)
        has_slot = False
        try:
            async with asyncio.timeout(call.patience * seconds) as limit:
                self._waiting[limit] = call.about.lane
                try:
                    async with slot:
                        has_slot = True
                        self._begin_call(call, limit, send_by, seconds)
                        async with self._host_limiter.timed(host, account):
                            return await call.call()
                finally:
                    self._waiting.pop(limit, None)
        except TimeoutError:
            if has_slot:
                raise
            raise HostSkipped(host) from None

    def _begin_call(
        self, call: BackgroundCall, limit: asyncio.Timeout, send_by: float, seconds: float
    ) -> None:
        """Start the call's own time-out, once it has its slot. Raises what prevents the call."""
        del self._waiting[limit]
        lane = call.about.lane
        with self._changed:  # before the check: a release of the lane sees it, or it sees that
            self._in_slot[call.key] = lane
        if not self._may_begin(lane):
            raise HostSkipped(call.about.broker_host)
        if machine_time() > send_by:  # this process was suspended: the request may be outdated
            raise NotSent(Code.SEND_DEADLINE)
        limit.reschedule(self._loop.time() + seconds)
