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
from brokers.rate_limits.redis_bucket import BucketRequest, OwnShare, RedisBucketClient
from brokers.rate_limits.token_bucket import Grant, Priority, Rate, RequestBatch, TokenBucket
from common.clocks import machine_time
from common.reason_codes import Code

log = logging.getLogger(__name__)
FRESH_SECONDS = 0.1  # what was admitted and has not left by then is asked for again
REDIS_BACKOFF_SECONDS = 2.0  # Redis is left alone after a failure
SETTLE_SECONDS = 3.0  # longer than that: until all processes have seen that Redis is back
AT_ONCE = 200  # others in one ask


@dataclass(slots=True, eq=False)
class PendingRequest:
    """A request that waits for its turn."""

    n: float
    rank: Priority
    until: float | None
    granted: asyncio.Future[None]


class BucketState:
    """A budget as this process knows it: its rate, and its own share for when Redis is away."""

    def __init__(self, name: str, rate: Rate) -> None:
        self.name, self.rate = name, rate
        self.backoff_until = 0.0
        self._own, self._is_shared = TokenBucket(), False
        self._lock = threading.Lock()  # loops of several threads may share it

    def shared(self) -> None:
        """A turn came from Redis."""
        self._is_shared = True

    def take(self, processes: int, batch: RequestBatch) -> Grant:
        """A turn from this process's own share."""
        with self._lock:
            now = machine_time()
            if self._is_shared:  # what there was may have been taken by any process
                self._own.empty(now)
                self._is_shared = False
            return self._own.take(now, self.rate.share(processes), batch)

    def back_off(self, seconds: float) -> None:
        """Nothing more for so long."""
        self.backoff_until = max(self.backoff_until, machine_time() + seconds)


@dataclass(slots=True)
class RequestQueue:
    """Who waits for one budget."""

    bucket: BucketState
    urgent: deque[PendingRequest] = field(default_factory=deque)
    others: list[PendingRequest] = field(default_factory=list)  # by rank, then as they came
    requested: list[PendingRequest] = field(
        default_factory=list
    )  # those of them that Redis is being asked for
    not_before: float = 0.0  # when the first of the others may ask again
    has_unsent_backoff: bool = False
    ahead: float = 0.0  # tokens in hand
    ahead_until: float = 0.0

    def due_at(self) -> float | None:
        """When Redis is asked next; None: nobody waits."""
        if self.urgent or self.has_unsent_backoff:
            return 0.0
        if not self.others:
            return None
        return min(
            [
                self.not_before,
                *(request.until for request in self.others if request.until is not None),
            ]
        )

    def add(self, request: PendingRequest) -> None:
        """Have a request wait among its equals. One that goes before all who were told when to ask
        again need not wait for that."""
        if request.rank is Priority.EXIT:
            self.urgent.append(request)
            return
        first = next((one for one in self.others if not one.granted.done()), None)
        if first is None or request.rank < first.rank:
            self.not_before = 0.0
        elif (
            request.until is not None and self.not_before > request.until
        ):  # nor is it before the first's
            _refuse(request)
            return
        insort(self.others, request, key=lambda one: one.rank)

    def spend(self, n: float, rank: Priority) -> bool:
        """Take from what is in hand."""
        now = machine_time()
        may = self.ahead >= n and now < self.ahead_until and now >= self.bucket.backoff_until
        if not may or (self.others and rank is not Priority.EXIT):
            return False
        self.ahead -= n
        return True

    def next_batch(self, now: float) -> RequestBatch:
        """What is asked for; who has gone is forgotten, who is too late is told."""
        self.urgent = deque(request for request in self.urgent if not request.granted.done())
        self.others = [request for request in self.others if not _is_over(request, now)]
        self.has_unsent_backoff = False
        self.requested = self.others[: AT_ONCE if now >= self.not_before else 0]
        urgent = [(a.n, None if a.until is None else max(0.0, a.until - now)) for a in self.urgent]
        others = [(request.n, request.rank) for request in self.requested]
        ahead = self.bucket.rate.ahead if others and now >= self.ahead_until else 0
        return RequestBatch(urgent, others, ahead, max(0.0, self.bucket.backoff_until - now))


class RateLimitScheduler:
    """Serves all budgets of one loop, until the loop ends."""

    def __init__(self, url: str, processes: Callable[[], int], ended: Callable[[], object]) -> None:
        self._processes, self._ended = processes, ended
        self._redis_client = RedisBucketClient(url, secrets.token_hex(4)) if url else None
        self._failed_at = float("-inf")
        self._queues: dict[str, RequestQueue] = {}
        self._wake = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._keep())

    async def acquire(
        self, bucket: BucketState, n: float, rank: Priority, until: float | None
    ) -> None:
        """Wait for a turn. Raises NotSent(RATE_LIMITED)."""
        queue = self._queue(bucket)
        if queue.spend(n, rank):
            return
        request = PendingRequest(n, rank, until, asyncio.get_running_loop().create_future())
        queue.add(request)
        self._wake.set()
        await request.granted

    def publish_backoff(self, bucket: BucketState) -> None:
        """Have all processes hear until when the broker wants no more."""
        self._queue(bucket).has_unsent_backoff = True
        self._wake.set()

    def _queue(self, bucket: BucketState) -> RequestQueue:
        queue = self._queues.get(bucket.name)
        if queue is None:
            queue = self._queues[bucket.name] = RequestQueue(bucket)
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
                for request in (*queue.urgent, *queue.others):
                    _refuse(request)
            if self._redis_client is not None:
                await self._redis_client.close()

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
        batches = [(queue, queue.next_batch(now)) for queue in due]
        grants = await self._shared(batches)
        for (queue, batch), grant in zip(batches, grants, strict=True):
            if isinstance(grant, Grant):
                queue.bucket.shared()
            else:
                queue.bucket.back_off(grant.back_off)
                batch = replace(batch, back_off=max(batch.back_off, grant.back_off))
                grant = queue.bucket.take(self._processes(), batch)
            self._settle(queue, batch, grant)
        for queue in due:
            if queue.due_at() is None and not queue.ahead:
                del self._queues[queue.bucket.name]

    async def _shared(
        self, batches: list[tuple[RequestQueue, RequestBatch]]
    ) -> list[Grant | OwnShare]:
        """What Redis grants; while it is away, everybody uses his own share."""
        own: list[Grant | OwnShare] = [OwnShare(0.0)] * len(batches)
        if self._redis_client is None or machine_time() < self._failed_at + REDIS_BACKOFF_SECONDS:
            return own
        try:
            await self._redis_client.connect()
            now = machine_time()
            has_failed = now < self._failed_at + SETTLE_SECONDS
            async with asyncio.timeout(FRESH_SECONDS):
                grants = await self._redis_client.ask(
                    [
                        BucketRequest(
                            q.bucket.name, q.bucket.rate, batch, has_failed, SETTLE_SECONDS
                        )
                        for q, batch in batches
                    ]
                )
            if machine_time() > now + FRESH_SECONDS:  # this process was stopped meanwhile
                raise TimeoutError
        except Exception as error:  # whatever is wrong with Redis: orders do not wait for it
            log.warning("budgets: Redis is away, this process uses its share: %r", error)
            self._failed_at = machine_time()
            with suppress(Exception):
                await self._redis_client.close()
            return own
        return grants

    def _settle(self, queue: RequestQueue, batch: RequestBatch, grant: Grant) -> None:
        now = machine_time()
        for wait in grant.urgent:
            request = queue.urgent.popleft()
            if wait is None:
                _refuse(request)
            elif wait > 0:
                loop = asyncio.get_running_loop()
                loop.call_later(wait, self._on_turn, queue.bucket, request, now + wait)
            else:
                _admit(request)
        for request in queue.requested[: grant.others]:
            queue.others.remove(request)
            _admit(request)
        if grant.ahead:
            queue.ahead, queue.ahead_until = grant.ahead, now + FRESH_SECONDS
        if refused := queue.requested[grant.others :]:
            is_overtaken = queue.others[:1] != refused[:1]  # by a lower rank, meanwhile
            queue.not_before = 0.0 if is_overtaken else now + grant.wait
            _refuse_late(queue, now)

    def _on_turn(self, bucket: BucketState, request: PendingRequest, granted_at: float) -> None:
        """The time that an urgent request has reserved."""
        now = machine_time()
        if request.granted.done():
            return
        if granted_at + FRESH_SECONDS < now or now < bucket.backoff_until:
            self._queue(bucket).urgent.append(request)
            self._wake.set()
        else:
            _admit(request)


def _admit(request: PendingRequest) -> None:
    if not request.granted.done():
        request.granted.set_result(None)


def _refuse(request: PendingRequest) -> None:
    if not request.granted.done():
        request.granted.set_exception(NotSent(Code.RATE_LIMITED, "its turn would come too late"))


def _is_over(request: PendingRequest, now: float) -> bool:
    """Whether nobody waits any more, or it is too late now."""
    if request.until is not None and now >= request.until:
        _refuse(request)
    return request.granted.done()


def _refuse_late(queue: RequestQueue, now: float) -> None:
    """Tell those of the others at once who cannot have their turn in time."""
    granted_at = queue.not_before
    for request in queue.others:
        if request.until is not None and granted_at > request.until:
            _refuse(request)
        else:
            granted_at += request.n / queue.bucket.rate.per_second
