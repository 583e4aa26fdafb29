"""A token bucket in which what is urgent goes first. Pure: no clock, no network.

`Level.take` is the rule of one process; `script.py` has the same rule for all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

AHEAD_SECONDS = 0.02  # of a rate: so many tokens are taken ahead where it is large


@dataclass(frozen=True, slots=True)
class Rate:
    """In any T seconds at most burst + per_second × T are admitted.

    What is admitted leaves within FRESH_SECONDS (keeper.py): a broker that cuts the line at 50 in
    any second gets Rate(per_second=40, burst=6), since 6 + 40 × 1.1 = 50.
    kept: the part of `burst` that only urgent requests may take.
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
        wanted = int(self.per_second * AHEAD_SECONDS)
        return wanted if wanted > 1 else 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one ask wants. urgent: (n, longest wait in seconds or None) each; others: n each."""

    urgent: Sequence[tuple[float, float | None]] = ()
    others: Sequence[float] = ()
    ahead: float = 0
    rest: float = 0.0


@dataclass(frozen=True, slots=True)
class Turn:
    """What it got. urgent: after how many seconds each leaves, None: later than it may wait;
    others: how many of them leave now; wait: seconds until the next of the others may ask."""

    urgent: Sequence[float | None]
    others: int
    wait: float
    ahead: float = 0


class Level:
    """How full a bucket is. Urgent requests reserve their turn, below zero if need be, so that
    they stand in line before all others, who are admitted only from what is there."""

    def __init__(self) -> None:
        self._level: float | None = None  # None: full
        self._at = 0.0

    def empty(self, now: float) -> None:
        """What there was is spent."""
        self._level, self._at = 0.0, now

    def take(self, now: float, rate: Rate, wanted: Wanted) -> Turn:
        """Admit what may leave. now: seconds on any one clock."""
        level = self._refilled(now, rate)
        if wanted.rest > 0:
            level = min(level, -wanted.rest * rate.per_second)
        waits: list[float | None] = []
        for n, longest in wanted.urgent:
            wait = max(0.0, min(n, rate.burst) - level) / rate.per_second
            late = longest is not None and wait > longest
            waits.append(None if late else wait)
            level -= 0 if late else n
        count, wait = 0, 0.0
        for n in wanted.others:
            floor = min(rate.kept * rate.burst, rate.burst - n)
            if level - n < floor:
                wait = (floor + n - level) / rate.per_second
                break
            level -= n
            count += 1
        is_ample = wait == 0 and level - wanted.ahead >= rate.burst / 2
        ahead = wanted.ahead if is_ample else 0
        self._level, self._at = level - ahead, now
        return Turn(waits, count, wait, ahead)

    def _refilled(self, now: float, rate: Rate) -> float:
        if self._level is None:
            return rate.burst
        return min(rate.burst, self._level + max(0.0, now - self._at) * rate.per_second)
