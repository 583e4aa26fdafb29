"""What one event loop has waiting for its budgets: all of it is asked for in one round trip."""

import asyncio
import logging
import secrets
import threading
from bisect import insort
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from brokers.base import NotSent
from brokers.budgets.rates import Level, Rank, Rate, Turn, Wanted
from brokers.budgets.script import Asked, Line, Own
from common.clocks import machine_time
from common.codes import Code

log = logging.getLogger(__name__)
FRESH_SECONDS = 0.1  # what was admitted and has not left by then is asked for again
REST_SECONDS = 2.0  # Redis is left alone after a failure
SETTLE_SECONDS = 3.0  # longer than that: until all processes have seen that Redis is back
AT_ONCE = 200  # others in one ask


@dataclass(slots=True, eq=False)
class Ask:
    """A request that waits for its turn."""

    n: float
    rank: Rank
    until: float | None
    told: asyncio.Future[None]


class Place:
    """A budget as this process knows it: its rate, and its own share for when Redis is away."""

    def __init__(self, name: str, rate: Rate) -> None:
        self.name, self.rate = name, rate
        self.rests_until = 0.0
        self._own, self._is_shared = Level(), False
        self._lock = threading.Lock()  # loops of several threads may share it

    def shared(self) -> None:
        """A turn came from Redis."""
        self._is_shared = True

    def take(self, processes: int, wanted: Wanted) -> Turn:
        """A turn from this process's own share."""
        with self._lock:
            now = machine_time()
            if self._is_shared:  # what there was may have been taken by any process
                self._own.empty(now)
                self._is_shared = False
            return self._own.take(now, self.rate.share(processes), wanted)

    def rest(self, seconds: float) -> None:
        """Nothing more for so long."""
        self.rests_until = max(self.rests_until, machine_time() + seconds)


@dataclass(slots=True)
class Queue:
    """Who waits for one budget."""

    place: Place
    urgent: deque[Ask] = field(default_factory=deque)
    others: list[Ask] = field(default_factory=list)  # by rank, then as they came
    asking: list[Ask] = field(default_factory=list)  # those of them that Redis is being asked for
    not_before: float = 0.0  # when the first of the others may ask again
    rest_untold: bool = False
    ahead: float = 0.0  # tokens in hand
    ahead_until: float = 0.0

    def due_at(self) -> float | None:
        """When Redis is asked next; None: nobody waits."""
        if self.urgent or self.rest_untold:
            return 0.0
        if not self.others:
            return None
        return min([self.not_before, *(ask.until for ask in self.others if ask.until is not None)])

    def add(self, ask: Ask) -> None:
        """Have a request wait among its equals. One that goes before all who were told when to ask
        again need not wait for that."""
        if ask.rank is Rank.EXIT:
            self.urgent.append(ask)
            return
        first = next((one for one in self.others if not one.told.done()), None)
        if first is None or ask.rank < first.rank:
            self.not_before = 0.0
        elif ask.until is not None and self.not_before > ask.until:  # nor is it before the first's
            _refuse(ask)
            return
        insort(self.others, ask, key=lambda one: one.rank)

    def spend(self, n: float, rank: Rank) -> bool:
        """Take from what is in hand."""
        now = machine_time()
        may = self.ahead >= n and now < self.ahead_until and now >= self.place.rests_until
        if not may or (self.others and rank is not Rank.EXIT):
            return False
        self.ahead -= n
        return True

    def wanted(self, now: float) -> Wanted:
        """What is asked for; who has gone is forgotten, who is too late is told."""
        self.urgent = deque(ask for ask in self.urgent if not ask.told.done())
        self.others = [ask for ask in self.others if not _is_over(ask, now)]
        self.rest_untold = False
        self.asking = self.others[: AT_ONCE if now >= self.not_before else 0]
        urgent = [(a.n, None if a.until is None else max(0.0, a.until - now)) for a in self.urgent]
        others = [(ask.n, ask.rank) for ask in self.asking]
        ahead = self.place.rate.ahead if others and now >= self.ahead_until else 0
        return Wanted(urgent, others, ahead, max(0.0, self.place.rests_until - now))


class Keeper:
    """Serves all budgets of one loop, until the loop ends."""

    def __init__(self, url: str, processes: Callable[[], int], ended: Callable[[], object]) -> None:
        self._processes, self._ended = processes, ended
        self._line = Line(url, secrets.token_hex(4)) if url else None
        self._failed_at = float("-inf")
        self._queues: dict[str, Queue] = {}
        self._wake = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._keep())

    async def acquire(self, place: Place, n: float, rank: Rank, until: float | None) -> None:
        """Wait for a turn. Raises NotSent(RATE_LIMITED)."""
        queue = self._queue(place)
        if queue.spend(n, rank):
            return
        ask = Ask(n, rank, until, asyncio.get_running_loop().create_future())
        queue.add(ask)
        self._wake.set()
        await ask.told

    def tell_rest(self, place: Place) -> None:
        """Have all processes hear until when the broker wants no more."""
        self._queue(place).rest_untold = True
        self._wake.set()

    def _queue(self, place: Place) -> Queue:
        queue = self._queues.get(place.name)
        if queue is None:
            queue = self._queues[place.name] = Queue(place)
        return queue

    async def _keep(self) -> None:
        task = asyncio.current_task()
        try:
            # Asked of the task as well: a client of Redis that is cancelled while it connects may
            # swallow it, and the end of a loop would wait for this one for ever.
            while task is None or not task.cancelling():
                await self._until_due()
                await self._serve(machine_time())
        finally:
            self._ended()
            for queue in self._queues.values():
                for ask in (*queue.urgent, *queue.others):
                    _refuse(ask)
            if self._line is not None:
                await self._line.close()

    async def _until_due(self) -> None:
        due = [at for queue in self._queues.values() if (at := queue.due_at()) is not None]
        wait = max(0.0, min(due) - machine_time()) if due else None
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._wake.wait()
        self._wake.clear()

    async def _serve(self, now: float) -> None:
        """One round: what is due is asked for, and told."""
        due = [q for q in self._queues.values() if (at := q.due_at()) is not None and at <= now]
        asked = [(queue, queue.wanted(now)) for queue in due]
        turns = await self._shared(asked)
        for (queue, wanted), turn in zip(asked, turns, strict=True):
            if isinstance(turn, Turn):
                queue.place.shared()
            else:
                queue.place.rest(turn.rest)
                wanted = replace(wanted, rest=max(wanted.rest, turn.rest))
                turn = queue.place.take(self._processes(), wanted)
            self._settle(queue, wanted, turn)
        for queue in due:
            if queue.due_at() is None and not queue.ahead:
                del self._queues[queue.place.name]

    async def _shared(self, asked: list[tuple[Queue, Wanted]]) -> list[Turn | Own]:
        """What Redis grants; while it is away, everybody uses his own share."""
        own: list[Turn | Own] = [Own(0.0)] * len(asked)
        if self._line is None or machine_time() < self._failed_at + REST_SECONDS:
            return own
        try:
            await self._line.connect()
            now = machine_time()
            has_failed = now < self._failed_at + SETTLE_SECONDS
            async with asyncio.timeout(FRESH_SECONDS):
                turns = await self._line.ask(
                    [
                        Asked(q.place.name, q.place.rate, wanted, has_failed, SETTLE_SECONDS)
                        for q, wanted in asked
                    ]
                )
            if machine_time() > now + FRESH_SECONDS:  # this process was stopped meanwhile
                raise TimeoutError
        except Exception as error:  # whatever is wrong with Redis: orders do not wait for it
            log.warning("budgets: Redis is away, this process uses its share: %r", error)
            self._failed_at = machine_time()
            with suppress(Exception):
                await self._line.close()
            return own
        return turns

    def _settle(self, queue: Queue, wanted: Wanted, turn: Turn) -> None:
        now = machine_time()
        for wait in turn.urgent:
            ask = queue.urgent.popleft()
            if wait is None:
                _refuse(ask)
            elif wait > 0:
                loop = asyncio.get_running_loop()
                loop.call_later(wait, self._on_turn, queue.place, ask, now + wait)
            else:
                _admit(ask)
        for ask in queue.asking[: turn.others]:
            queue.others.remove(ask)
            _admit(ask)
        if turn.ahead:
            queue.ahead, queue.ahead_until = turn.ahead, now + FRESH_SECONDS
        if refused := queue.asking[turn.others :]:
            is_overtaken = queue.others[:1] != refused[:1]  # by a lower rank, meanwhile
            queue.not_before = 0.0 if is_overtaken else now + turn.wait
            _refuse_late(queue, now)

    def _on_turn(self, place: Place, ask: Ask, turn_at: float) -> None:
        """The time that an urgent request has reserved."""
        now = machine_time()
        if ask.told.done():
            return
        if turn_at + FRESH_SECONDS < now or now < place.rests_until:
            self._queue(place).urgent.append(ask)
            self._wake.set()
        else:
            _admit(ask)


def _admit(ask: Ask) -> None:
    if not ask.told.done():
        ask.told.set_result(None)


def _refuse(ask: Ask) -> None:
    if not ask.told.done():
        ask.told.set_exception(NotSent(Code.RATE_LIMITED, "its turn would come too late"))


def _is_over(ask: Ask, now: float) -> bool:
    """Whether nobody waits any more, or it is too late now."""
    if ask.until is not None and now >= ask.until:
        _refuse(ask)
    return ask.told.done()


def _refuse_late(queue: Queue, now: float) -> None:
    """Tell those of the others at once who cannot have their turn in time."""
    turn_at = queue.not_before
    for ask in queue.others:
        if ask.until is not None and turn_at > ask.until:
            _refuse(ask)
        else:
            turn_at += ask.n / queue.place.rate.per_second
