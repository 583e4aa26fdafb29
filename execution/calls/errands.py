"""Errands: calls to brokers that are no orders of ours: cancels, moved levels, look-ups.

Nobody waits for them. They have places of their own beside the orders', of which one host gets a
share; each has a time-out; and what came of it goes through the outbox to the flusher, which hands
it to whoever writes it down. What is not answered stays wanted on its row and is asked again; what
never got a place is not counted as asked (`NotAsked`). A call begins in a lane of this process
only; what waits for its place keeps no lane from being given back.
"""

import asyncio
import threading
from collections.abc import Callable, Collection, Coroutine, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from brokers.answers import NotAsked
from brokers.base import NotSent
from brokers.places import Places, Rank
from common.clocks import machine_time
from common.codes import Code

AT_ONCE, AT_ONE_HOST, LEAST_AT_ONE_HOST = 500, 100, 2


@dataclass(frozen=True, slots=True)
class Errand:
    """One call. key: a second one of it is not begun meanwhile; about: the row it was asked for,
    with its `connection_id`, `broker_host` and `lane`; write: gets what came of this and other
    errands at once. rank: which go first. patience: for how many time-outs of a call it may wait
    for its place; its row must be claimed for `Errands.longest(patience)`."""

    key: Hashable
    about: Any
    call: Callable[[], Coroutine[Any, Any, Any]]
    write: "Callable[[Sequence[Done]], object]"
    rank: Rank = Rank.FIRST
    patience: int = 1


@dataclass(frozen=True, slots=True)
class Done:
    """What an errand ended in: the adapter's answer or an exception."""

    errand: Errand
    answer: Any
    ended_at: float = field(default_factory=machine_time)

    @property
    def about(self) -> Any:
        """The row that was asked for."""
        return self.errand.about

    @property
    def failed(self) -> bool:
        """Whether there is no answer."""
        return isinstance(self.answer, BaseException)

    @property
    def was_asked(self) -> bool:
        """Whether it had a place for its call: else nothing can be concluded, not even silence."""
        return not isinstance(self.answer, NotAsked)

    @property
    def was_made(self) -> bool:
        """Whether its request left, or may have left."""
        return not isinstance(self.answer, NotAsked | NotSent)


class Errands:
    """The errands of one process, on its wire's event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        tell: Callable[[Done], None],
        timeout: float,
        may_begin: Callable[[str], bool] = lambda lane: True,
    ) -> None:
        """may_begin: whether a call may begin in a lane now (`lanes.Lanes`)."""
        self._loop, self._tell, self._timeout = loop, tell, timeout
        self._may_begin = may_begin
        self._places = Places(
            in_all=AT_ONCE, per_host=AT_ONE_HOST, least=LEAST_AT_ONE_HOST, seconds=timeout
        )
        self._under_way: dict[Hashable, str] = {}  # with their lanes
        self._calling: dict[Hashable, str] = {}  # those of them that have their place
        self._waiting: dict[asyncio.Timeout, str] = {}  # and those that wait for it; loop only
        self._changed = threading.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def longest(self, patience: int = 1) -> float:
        """Seconds after which an errand of this patience has surely ended: it may wait for its
        place, then be made. A row that is asked about belongs to its asker for so long."""
        return (patience + 1) * self._timeout + 1

    def start(self, errands: Sequence[Errand]) -> None:
        """Begin what is not under way already; returns at once. From any thread."""
        with self._changed:
            fresh = [errand for errand in errands if errand.key not in self._under_way]
            self._under_way |= {errand.key: errand.about.lane for errand in fresh}
        if fresh:
            self._loop.call_soon_threadsafe(self._begin, fresh, machine_time())

    def is_busy(self, lane: str) -> bool:
        """Whether a call of this lane has its place, until its end lies in the outbox."""
        with self._changed:
            return lane in self._calling.values()

    def end_waiting(self, lanes: Collection[str] | None = None) -> None:
        """End what waits for its place (of these lanes): others may make it. From any thread."""
        self._loop.call_soon_threadsafe(self._end_waiting, lanes)

    @contextmanager
    def counted(self, lane: str) -> Iterator[None]:
        """Count a call as under way that somebody waits for, and so is no errand."""
        key = object()
        with self._changed:
            self._under_way[key] = self._calling[key] = lane
        try:
            yield
        finally:
            with self._changed:
                del self._under_way[key], self._calling[key]
                self._changed.notify_all()

    def wait_idle(self, timeout: float) -> bool:
        """Wait until none is under way; False when the time is over first."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._under_way, timeout)

    def _begin(self, errands: Sequence[Errand], now: float) -> None:
        for errand in errands:
            send_by = now + errand.patience * self._timeout
            task = self._loop.create_task(self._run(errand, send_by))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _end_waiting(self, lanes: Collection[str] | None) -> None:
        for limit, lane in self._waiting.items():
            if (lanes is None or lane in lanes) and not limit.expired():
                limit.reschedule(self._loop.time())

    async def _run(self, errand: Errand, send_by: float) -> None:
        try:
            answer = await self._ask(errand, send_by)
        except Exception as error:  # outcomes, time-outs and our own bugs: all are told
            answer = error
        self._tell(Done(errand, answer))
        with self._changed:  # last: who waits until all is idle finds all of it told
            self._under_way.pop(errand.key, None)
            self._calling.pop(errand.key, None)
            self._changed.notify_all()

    async def _ask(self, errand: Errand, send_by: float) -> Any:
        host, account = errand.about.broker_host, errand.about.connection_id
        place = self._places.of(host, account, errand.rank)
        has_place = False
        try:
            async with asyncio.timeout(errand.patience * self._timeout) as limit:
                self._waiting[limit] = errand.about.lane
                try:
                    async with place:
                        has_place = True
                        self._begin_call(errand, limit, send_by)
                        async with self._places.timed(host, account):
                            return await errand.call()
                finally:
                    self._waiting.pop(limit, None)
        except TimeoutError:
            if has_place:
                raise
            raise NotAsked(host) from None

    def _begin_call(self, errand: Errand, limit: asyncio.Timeout, send_by: float) -> None:
        """It has its place, and from now on the time of its call. Raises what keeps it back."""
        del self._waiting[limit]
        lane = errand.about.lane
        with self._changed:  # first: who gives the lane back sees it, or it sees that
            self._calling[errand.key] = lane
        if not self._may_begin(lane):
            raise NotAsked(errand.about.broker_host)
        if machine_time() > send_by:  # this process was stopped: it may be old
            raise NotSent(Code.SEND_DEADLINE)
        limit.reschedule(self._loop.time() + self._timeout)
