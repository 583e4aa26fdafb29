"""A token bucket in which what is urgent goes first. Pure: no clock, no network.

`TokenBucket.take` is the rule of one process; `redis_bucket.py` has the same rule for all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

AHEAD_SECONDS = 0.02  # of a rate: so many tokens are taken ahead where it is large


class Priority(IntEnum):
    """What a request is about: the lower ones leave before the higher ones, of all processes."""

    EXIT = 0  # what makes a risk smaller: exits, cancels, moved levels
    LOOKUP = 1  # what is held and ordered: exits wait until it is known, and nothing is added to it
    ENTRY = 2
    READ = 3  # whatever can wait: sums, prices, contracts


FLOORS = {Priority.LOOKUP: 0.5, Priority.ENTRY: 1.0, Priority.READ: 2.0}
"""How much a rank leaves in the bucket for those before it, in parts of what is kept."""


@dataclass(frozen=True, slots=True)
class Rate:
    """In any T seconds at most burst + per_second × T are admitted.

    What is admitted leaves within FRESH_SECONDS (scheduler.py): a broker that cuts the line at more
    than 50 in any second may get Rate(per_second=40, burst=6), since 6 + 40 × 1.1 = 50.
    kept: the part of `burst` that entries leave; look-ups leave half of it, reads twice as much.
    """

    per_second: float
    burst: float
    kept: float = 0.25

    def share(self, processes: int) -> "Rate":
        """What each of so many processes may use by itself."""
        return Rate(self.per_second / processes, self.burst / processes, self.kept)

    @property
    def ahead(self) -> int:
        """How many tokens a process takes ahead; 0 where the rate is small."""
        tokens = int(self.per_second * AHEAD_SECONDS)
        return tokens if tokens > 1 else 0


@dataclass(frozen=True, slots=True)
class RequestBatch:
    """What one ask wants. urgent: exits, (n, longest wait in seconds or None) each; others: (n,
    rank) each, the lowest rank first."""

    urgent: Sequence[tuple[float, float | None]] = ()
    others: Sequence[tuple[float, Priority]] = ()
    ahead: float = 0
    back_off: float = 0.0


@dataclass(frozen=True, slots=True)
class Grant:
    """What it got. urgent: after how many seconds each leaves, None: later than it may wait;
    others: how many of them leave now; wait: seconds until the next of the others may ask."""

    urgent: Sequence[float | None]
    others: int
    wait: float
    ahead: float = 0


class TokenBucket:
    """How full a bucket is. Urgent requests reserve their turn, below zero if need be, so that
    they stand in line before all others, who are admitted only from what is there."""

    def __init__(self) -> None:
        self._level: float | None = None  # None: full
        self._at = 0.0

    def empty(self, now: float) -> None:
        """What there was is spent."""
        self._level, self._at = 0.0, now

    def take(self, now: float, rate: Rate, batch: RequestBatch) -> Grant:
        """Admit what may leave. now: seconds on any one clock."""
        level = self._refilled(now, rate)
        if batch.back_off > 0:
            level = min(level, -batch.back_off * rate.per_second)
        waits: list[float | None] = []
        for n, max_wait in batch.urgent:
            wait = max(0.0, min(n, rate.burst) - level) / rate.per_second
            late = max_wait is not None and wait > max_wait
            waits.append(None if late else wait)
            level -= 0 if late else n
        count, wait = 0, 0.0
        for n, rank in batch.others:
            floor = min(FLOORS[rank] * rate.kept * rate.burst, rate.burst - n)
            if level - n < floor:
                wait = (floor + n - level) / rate.per_second
                break
            level -= n
            count += 1
        is_ample = wait == 0 and level - batch.ahead >= rate.burst / 2
        ahead = batch.ahead if is_ample else 0
        self._level, self._at = level - ahead, now
        return Grant(waits, count, wait, ahead)

    def _refilled(self, now: float, rate: Rate) -> float:
        if self._level is None:
            return rate.burst
        return min(rate.burst, self._level + max(0.0, now - self._at) * rate.per_second)
