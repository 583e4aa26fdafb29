"""How many requests may leave for a broker: one budget for all processes, exits first.

Then look-ups, entries and reads (`Priority`).

An adapter asks `rate_limiter_for` with a name that says whose limit it is ("ibkr 10.0.0.5:4002",
"crypto binance", "crypto binance account <id>") and awaits `acquire` before each request. Processes
share a budget over Redis. Without Redis each has its share of it, at once, and comes back by
itself. See docs/adr/0015-rate-limits-are-shared-over-redis.md.
"""

import asyncio
import threading
from contextlib import suppress
from typing import Protocol
from weakref import WeakValueDictionary

from brokers.rate_limits.scheduler import BucketState, RateLimitScheduler
from brokers.rate_limits.token_bucket import Priority, Rate

__all__ = ["Priority", "Rate", "RateLimiter", "configure", "rate_limiter_for"]


class RateLimiter(Protocol):
    """Requests that may leave for one host or account."""

    async def acquire(
        self, n: float = 1, *, rank: Priority = Priority.ENTRY, until: float | None = None
    ) -> None:
        """Wait until n requests may leave together.

        rank: what they are about; lower ones leave before higher ones of all processes. until:
        machine_time(); raises NotSent(RATE_LIMITED) as soon as it is known that the turn would come
        later.
        """
        ...

    def back_off(self, seconds: float) -> None:
        """The broker wants no more for so long; heard by all processes."""
        ...


class _SharedRateLimiter:
    """A budget of this process's loops and of all other processes."""

    def __init__(self, name: str, rate: Rate) -> None:
        self._bucket = BucketState(name, rate)

    async def acquire(
        self, n: float = 1, *, rank: Priority = Priority.ENTRY, until: float | None = None
    ) -> None:
        await _scheduler().acquire(self._bucket, n, rank, until)

    def back_off(self, seconds: float) -> None:
        self._bucket.back_off(seconds)
        with suppress(RuntimeError):  # where no loop runs only this process hears it
            _scheduler().publish_backoff(self._bucket)

    def tune(self, rate: Rate) -> None:
        self._bucket.rate = rate


_url, _processes = "", 1
_limiters: WeakValueDictionary[str, _SharedRateLimiter] = WeakValueDictionary()
_schedulers: dict[asyncio.AbstractEventLoop, RateLimitScheduler] = {}
_lock = threading.Lock()


def configure(redis_url: str, processes: int) -> None:
    """Share budgets over this Redis ('': none). processes: how many live, for the share that each
    has without it. Nothing is connected before the first request."""
    global _url, _processes
    _url, _processes = redis_url, max(1, processes)


def rate_limiter_for(name: str, rate: Rate) -> RateLimiter:
    """Return the budget of this name, the same for all who ask; the latest rate holds."""
    with _lock:
        found = _limiters.get(name)
        if found is None:
            found = _limiters[name] = _SharedRateLimiter(name, rate)
        found.tune(rate)
        return found


def _scheduler() -> RateLimitScheduler:
    """The running loop's. Raises RuntimeError where none runs."""
    loop = asyncio.get_running_loop()
    scheduler = _schedulers.get(loop)
    if scheduler is None:
        scheduler = _schedulers[loop] = RateLimitScheduler(
            _url, lambda: _processes, lambda: _schedulers.pop(loop, None)
        )
    return scheduler
