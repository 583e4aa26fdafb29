"""The requests of one event loop that wait for their rate limits, batched into one round trip."""

import asyncio
import logging
import secrets
import threading
from bisect import insort
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from brokers.base import NotSent, outcome_of
from brokers.rate_limits.redis_bucket import BucketRequest, OwnShare, RedisBucketClient
from brokers.rate_limits.token_bucket import Grant, Priority, Rate, RequestBatch, TokenBucket
from common.clocks import machine_time
from common.reason_codes import Code

log = logging.getLogger(__name__)
FRESH_SECONDS = 0.1  # an admission that was not used by then is requested again
REDIS_BACKOFF_SECONDS = 2.0  # no call to Redis for so long after a failure
SETTLE_SECONDS = 3.0  # longer than the back-off: all processes have seen by then that Redis is back
MAX_CONCURRENT = 200  # requests that are not urgent, in one batch


@dataclass(slots=True, eq=False)
class PendingRequest:
    """A request that waits for admission."""

    tokens: float
    priority: Priority
    deadline: float | None
    granted: asyncio.Future[None]


class BucketState:
    """A rate limit in this process: its rate, and a bucket of its own for when Redis fails."""

    def __init__(self, name: str, rate: Rate) -> None:
        self.name, self.rate = name, rate
        self.backoff_until = 0.0
        self._own_bucket, self._is_shared = TokenBucket(), False
        self._lock = threading.Lock()  # loops of several threads may share it

    def mark_shared(self) -> None:
        """Note that Redis granted requests."""
        self._is_shared = True

    def take(self, processes: int, batch: RequestBatch) -> Grant:
        """Grant requests from this process's own share."""
        with self._lock:
            now = machine_time()
            if self._is_shared:  # other processes may have used all tokens
                self._own_bucket.empty(now)
                self._is_shared = False
            return self._own_bucket.take(now, self.rate.share(processes), batch)

    def back_off(self, seconds: float) -> None:
        """Grant nothing for so many seconds."""
        self.backoff_until = max(self.backoff_until, machine_time() + seconds)


@dataclass(slots=True)
class RequestQueue:
    """The requests that wait for one rate limit."""

    bucket: BucketState
    urgent: deque[PendingRequest] = field(default_factory=deque)
    others: list[PendingRequest] = field(default_factory=list)  # by priority, then by arrival
    requested: list[PendingRequest] = field(default_factory=list)  # the others in the current batch
    not_before: float = 0.0  # when the first of the others may be requested again
    has_unsent_backoff: bool = False
    ahead: float = 0.0  # prefetched tokens
    ahead_until: float = 0.0

    def due_at(self) -> float | None:
        """Return when to send the next batch; None: nothing waits."""
        if self.urgent or self.has_unsent_backoff:
            return 0.0
        if not self.others:
            return None
        return min(
            [
                self.not_before,
                *(request.deadline for request in self.others if request.deadline is not None),
            ]
        )

    def add(self, request: PendingRequest) -> None:
        """Queue a request behind those of its priority.

        `not_before` holds for the first of the others: a request that goes before it is sent in the
        next batch."""
        if request.priority is Priority.EXIT:
            self.urgent.append(request)
            return
        first = next((other for other in self.others if not other.granted.done()), None)
        if first is None or request.priority < first.priority:
            self.not_before = 0.0
        elif request.deadline is not None and self.not_before > request.deadline:
            _refuse(request)  # it cannot be admitted before the first one
            return
        insort(self.others, request, key=lambda other: other.priority)

    def spend(self, tokens: float, priority: Priority) -> bool:
        """Take prefetched tokens. Return False if there are too few or others must go first."""
        now = machine_time()
        may = self.ahead >= tokens and now < self.ahead_until and now >= self.bucket.backoff_until
        if not may or (self.others and priority is not Priority.EXIT):
            return False
        self.ahead -= tokens
        return True

    def next_batch(self, now: float) -> RequestBatch:
        """Return the next batch. Drop cancelled requests and refuse those past their deadline."""
        self.urgent = deque(request for request in self.urgent if not request.granted.done())
        self.others = [request for request in self.others if not _is_over(request, now)]
        self.has_unsent_backoff = False
        self.requested = self.others[: MAX_CONCURRENT if now >= self.not_before else 0]
        urgent = [
            (a.tokens, None if a.deadline is None else max(0.0, a.deadline - now))
            for a in self.urgent
        ]
        others = [(request.tokens, request.priority) for request in self.requested]
        ahead = self.bucket.rate.ahead if others and now >= self.ahead_until else 0
        return RequestBatch(urgent, others, ahead, max(0.0, self.bucket.backoff_until - now))


class RateLimitScheduler:
    """Serves all rate limits of one loop, until the loop ends."""

    def __init__(self, url: str, processes: Callable[[], int], ended: Callable[[], object]) -> None:
        self._processes, self._ended = processes, ended
        self._redis_client = RedisBucketClient(url, secrets.token_hex(4)) if url else None
        self._failed_at = float("-inf")
        self._queues: dict[str, RequestQueue] = {}
        self._wake = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def acquire(
        self, bucket: BucketState, tokens: float, priority: Priority, deadline: float | None
    ) -> None:
        """Wait until so many tokens are granted. Raises NotSent(RATE_LIMITED)."""
        queue = self._queue(bucket)
        if queue.spend(tokens, priority):
            return
        request = PendingRequest(
            tokens, priority, deadline, asyncio.get_running_loop().create_future()
        )
        queue.add(request)
        self._wake.set()
        await request.granted

    def publish_backoff(self, bucket: BucketState) -> None:
        """Share the end of a back-off with all processes."""
        self._queue(bucket).has_unsent_backoff = True
        self._wake.set()

    def _queue(self, bucket: BucketState) -> RequestQueue:
        queue = self._queues.get(bucket.name)
        if queue is None:
            queue = self._queues[bucket.name] = RequestQueue(bucket)
        return queue

    async def _run(self) -> None:
        task = asyncio.current_task()
        try:
            # Check `cancelling` too: the Redis client may swallow a cancellation while it connects,
            # and the loop's shutdown would wait for this task for ever.
            while task is None or not task.cancelling():
                await self._wait_until_due()
                await self._serve(machine_time())
        finally:
            self._ended()
            for queue in self._queues.values():
                for request in (*queue.urgent, *queue.others):
                    _refuse(request)
            if self._redis_client is not None:
                await self._redis_client.close()

    async def _wait_until_due(self) -> None:
        due = [at for queue in self._queues.values() if (at := queue.due_at()) is not None]
        wait = max(0.0, min(due) - machine_time()) if due else None
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._wake.wait()
        self._wake.clear()

    async def _serve(self, now: float) -> None:
        """Request what is due and pass the grants on."""
        due = [q for q in self._queues.values() if (at := q.due_at()) is not None and at <= now]
        batches = [(queue, queue.next_batch(now)) for queue in due]
        grants = await self._shared(batches)
        for (queue, batch), grant in zip(batches, grants, strict=True):
            if isinstance(grant, Grant):
                queue.bucket.mark_shared()
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
        """Return what Redis grants; `OwnShare` for each batch while Redis is unavailable."""
        own_shares: list[Grant | OwnShare] = [OwnShare(0.0)] * len(batches)
        if self._redis_client is None or machine_time() < self._failed_at + REDIS_BACKOFF_SECONDS:
            return own_shares
        # Orders never wait for Redis, whatever its client raises.
        grants = await outcome_of(self._take(self._redis_client, batches))
        if isinstance(grants, Exception):
            log.warning(
                "rate limits: Redis is unavailable, this process uses its own share: %r", grants
            )
            self._failed_at = machine_time()
            await outcome_of(self._redis_client.close())  # it may be broken already
            return own_shares
        return grants

    async def _take(
        self, client: RedisBucketClient, batches: list[tuple[RequestQueue, RequestBatch]]
    ) -> list[Grant | OwnShare]:
        """Take from Redis' buckets. Raises TimeoutError after FRESH_SECONDS."""
        await client.connect()
        now = machine_time()
        has_failed = now < self._failed_at + SETTLE_SECONDS
        async with asyncio.timeout(FRESH_SECONDS):
            grants = await client.take(
                [
                    BucketRequest(q.bucket.name, q.bucket.rate, batch, has_failed, SETTLE_SECONDS)
                    for q, batch in batches
                ]
            )
        if machine_time() > now + FRESH_SECONDS:  # this process was stopped meanwhile
            raise TimeoutError
        return grants

    def _settle(self, queue: RequestQueue, batch: RequestBatch, grant: Grant) -> None:
        now = machine_time()
        for wait in grant.urgent:
            request = queue.urgent.popleft()
            if wait is None:
                _refuse(request)
            elif wait > 0:
                loop = asyncio.get_running_loop()
                loop.call_later(wait, self._on_reserved_time, queue.bucket, request, now + wait)
            else:
                _admit(request)
        for request in queue.requested[: grant.others]:
            queue.others.remove(request)
            _admit(request)
        if grant.ahead:
            queue.ahead, queue.ahead_until = grant.ahead, now + FRESH_SECONDS
        if refused := queue.requested[grant.others :]:
            is_overtaken = queue.others[:1] != refused[:1]  # by a more urgent request, meanwhile
            queue.not_before = 0.0 if is_overtaken else now + grant.wait
            _refuse_late(queue, now)

    def _on_reserved_time(
        self, bucket: BucketState, request: PendingRequest, granted_at: float
    ) -> None:
        """Admit an urgent request at the time that it reserved, or queue it again if too late."""
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
        error = NotSent(Code.RATE_LIMITED, "the rate limit would admit it only after its deadline")
        request.granted.set_exception(error)


def _is_over(request: PendingRequest, now: float) -> bool:
    """Whether the request is cancelled, answered or past its deadline, which refuses it."""
    if request.deadline is not None and now >= request.deadline:
        _refuse(request)
    return request.granted.done()


def _refuse_late(queue: RequestQueue, now: float) -> None:
    """Refuse at once the waiting requests that cannot be admitted before their deadline."""
    granted_at = queue.not_before
    for request in queue.others:
        if request.deadline is not None and granted_at > request.deadline:
            _refuse(request)
        else:
            granted_at += request.tokens / queue.bucket.rate.per_second
