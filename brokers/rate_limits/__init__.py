"""Rate limits for calls to brokers, shared by all processes: exits first, then look-ups, entries
and reads (`Priority`).

An adapter calls `rate_limiter_for` with the name of the limited host or account
("ibkr 10.0.0.5:4002", "crypto binance", "crypto binance account <id>") and awaits `acquire` before
each request. Processes share a limit over Redis. If Redis fails, each process continues at once
with its own share, and returns to the shared limit automatically.
See docs/adr/0015-rate-limits-are-shared-over-redis.md.
"""

import asyncio
import threading
from contextlib import suppress
from typing import Protocol
from weakref import WeakValueDictionary

from brokers.base import NotSent
from brokers.rate_limits.scheduler import BucketState, RateLimitScheduler
from brokers.rate_limits.token_bucket import Priority, Rate
from common.clocks import machine_time
from common.process.call_figures import FIGURES, OK, Kind

__all__ = ["Priority", "Rate", "RateLimiter", "configure", "kind_of", "rate_limiter_for"]


PURPOSES = {priority: priority.name.lower() for priority in Priority}


def kind_of(name: str) -> str:
    """Return the name of a rate limit without what belongs to one account or gateway. Pure.

    >>> kind_of("ibkr 10.0.0.5:4002"), kind_of("crypto kraken account 5f00ab orders")
    ('ibkr', 'crypto kraken account orders')
    """
    words = name.split()
    pairs = zip(words, ["", *words], strict=False)
    return " ".join(word for word, before in pairs if before != "account" and ":" not in word)


class RateLimiter(Protocol):
    """The rate limit of one host or account."""

    async def acquire(
        self,
        tokens: float = 1,
        *,
        priority: Priority = Priority.ENTRY,
        deadline: float | None = None,
    ) -> None:
        """Wait until requests of so many tokens may be sent together.

        priority: lower values are sent before higher ones, of all processes. deadline: on
        machine_time(); raises NotSent(RATE_LIMITED) as soon as it is clear that the requests could
        only be sent later.
        """
        ...

    def back_off(self, seconds: float) -> None:
        """Send nothing for so many seconds, in all processes, as the broker requested."""
        ...


class _SharedRateLimiter:
    """A rate limit that this process's loops and all other processes share."""

    def __init__(self, name: str, rate: Rate) -> None:
        self._bucket, self._kind = BucketState(name, rate), kind_of(name)

    async def acquire(
        self,
        tokens: float = 1,
        *,
        priority: Priority = Priority.ENTRY,
        deadline: float | None = None,
    ) -> None:
        began, outcome = machine_time(), "cancelled"
        try:
            await _scheduler().acquire(self._bucket, tokens, priority, deadline)
            outcome = OK
        except NotSent:
            outcome = "refused"
            raise
        finally:
            FIGURES.count(
                Kind.RATE_LIMIT, self._kind, PURPOSES[priority], outcome, machine_time() - began
            )

    def back_off(self, seconds: float) -> None:
        self._bucket.back_off(seconds)
        with suppress(RuntimeError):  # without a running loop only this process backs off
            _scheduler().publish_backoff(self._bucket)

    def tune(self, rate: Rate) -> None:
        self._bucket.rate = rate


_url, _processes = "", 1
_limiters: WeakValueDictionary[str, _SharedRateLimiter] = WeakValueDictionary()
_schedulers: dict[asyncio.AbstractEventLoop, RateLimitScheduler] = {}
_lock = threading.Lock()


def configure(redis_url: str, processes: int) -> None:
    """Share rate limits over this Redis ('': not shared). Connects at the first request.

    processes: number of processes, which sets the share of each while Redis is unavailable."""
    global _url, _processes
    _url, _processes = redis_url, max(1, processes)


def rate_limiter_for(name: str, rate: Rate) -> RateLimiter:
    """Return the rate limiter of this name, one for all callers. The latest rate applies."""
    with _lock:
        found = _limiters.get(name)
        if found is None:
            found = _limiters[name] = _SharedRateLimiter(name, rate)
        found.tune(rate)
        return found


def _scheduler() -> RateLimitScheduler:
    """Return the running loop's scheduler. Raises RuntimeError if no loop runs."""
    loop = asyncio.get_running_loop()
    scheduler = _schedulers.get(loop)
    if scheduler is None:
        scheduler = _schedulers[loop] = RateLimitScheduler(
            _url, lambda: _processes, lambda: _schedulers.pop(loop, None)
        )
    return scheduler
