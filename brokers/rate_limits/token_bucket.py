"""A token bucket that serves urgent requests first. Pure: no clock, no network.

`TokenBucket.take` is the algorithm for one process; `redis_bucket.py` has the same one for all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

AHEAD_SECONDS = 0.02  # tokens for this time are prefetched if the rate is high


class Priority(IntEnum):
    """The purpose of a request. Lower values are sent before higher ones, of all processes."""

    EXIT = 0  # reduces risk: exits, cancels, level changes
    LOOKUP = 1  # reads orders and positions: exits wait for it, and it adds no risk
    ENTRY = 2
    READ = 3  # can wait: balances, prices, contracts


FLOORS = {Priority.LOOKUP: 0.5, Priority.ENTRY: 1.0, Priority.READ: 2.0}
"""Level below which a priority may not draw the bucket, as a multiple of the exit reserve."""


@dataclass(frozen=True, slots=True)
class Rate:
    """In any T seconds at most burst + per_second × T requests are admitted.

    An admitted request is sent within FRESH_SECONDS (scheduler.py). So for a broker that
    disconnects at more than 50 in any second use Rate(per_second=40, burst=6): 6 + 40 × 1.1 = 50.
    exit_reserve: the part of `burst` that entries leave for exits; look-ups leave half of it, reads
    twice.
    """

    per_second: float
    burst: float
    exit_reserve: float = 0.25

    def share(self, processes: int) -> "Rate":
        """Return the part of the rate that each process uses while the limit is not shared."""
        return Rate(self.per_second / processes, self.burst / processes, self.exit_reserve)

    @property
    def ahead(self) -> int:
        """Number of tokens that a process prefetches; 0 if the rate is low."""
        prefetched = int(self.per_second * AHEAD_SECONDS)
        return prefetched if prefetched > 1 else 0


@dataclass(frozen=True, slots=True)
class RequestBatch:
    """The requests of one call. urgent: exits, each (tokens,
    longest wait in seconds or None); others:
    each (tokens, priority),
    the lowest value first; ahead: tokens to prefetch; back_off: seconds."""

    urgent: Sequence[tuple[float, float | None]] = ()
    others: Sequence[tuple[float, Priority]] = ()
    ahead: float = 0
    back_off: float = 0.0


@dataclass(frozen=True, slots=True)
class Grant:
    """The answer to a batch. urgent: delay of each in seconds, None: longer than it may wait;
    others: how many of them may leave now; wait: seconds until the next of the others may retry;
    ahead: tokens that were prefetched."""

    urgent: Sequence[float | None]
    others: int
    wait: float
    ahead: float = 0


class TokenBucket:
    """The level of a bucket. Urgent requests reserve tokens, even below zero, so they go before all
    others; other requests are admitted only if the tokens are there."""

    def __init__(self) -> None:
        self._level: float | None = None  # None: full
        self._at = 0.0

    def empty(self, now: float) -> None:
        """Set the level to zero."""
        self._level, self._at = 0.0, now

    def take(self, now: float, rate: Rate, batch: RequestBatch) -> Grant:
        """Admit the requests that the level allows. now: seconds, always on the same clock."""
        level = self._refilled(now, rate)
        if batch.back_off > 0:
            level = min(level, -batch.back_off * rate.per_second)
        waits: list[float | None] = []
        for tokens, max_wait in batch.urgent:
            wait = max(0.0, min(tokens, rate.burst) - level) / rate.per_second
            late = max_wait is not None and wait > max_wait
            waits.append(None if late else wait)
            level -= 0 if late else tokens
        count, wait = 0, 0.0
        for tokens, priority in batch.others:
            floor = min(FLOORS[priority] * rate.exit_reserve * rate.burst, rate.burst - tokens)
            if level - tokens < floor:
                wait = (floor + tokens - level) / rate.per_second
                break
            level -= tokens
            count += 1
        is_ample = wait == 0 and level - batch.ahead >= rate.burst / 2
        ahead = batch.ahead if is_ample else 0
        self._level, self._at = level - ahead, now
        return Grant(waits, count, wait, ahead)

    def _refilled(self, now: float, rate: Rate) -> float:
        if self._level is None:
            return rate.burst
        return min(rate.burst, self._level + max(0.0, now - self._at) * rate.per_second)
