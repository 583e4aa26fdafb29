"""How many requests may leave in a second: exits first, nobody for ever.

`Budget` is what the adapter asks. `Bucket` keeps it for one process; a budget that processes share
(Redis) has the same two methods.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from common.clocks import machine_time

SHARE_KEPT = 0.25  # of a full bucket: only what is urgent may take it


class Budget(Protocol):
    """Requests that may leave for one host and account."""

    async def acquire(self, n: int = 1, *, urgent: bool = False) -> None:
        """Wait until n requests may leave. urgent: exits and cancels, which go first."""
        ...

    def rest(self, seconds: float) -> None:
        """The exchange wants no more for so long."""
        ...


class Bucket:
    """A token bucket of this process: `per_second` requests, at most `burst` at once."""

    def __init__(
        self,
        per_second: float,
        burst: float | None = None,
        *,
        clock: Callable[[], float] = machine_time,
    ) -> None:
        self._rate = per_second
        self._most = burst if burst is not None else max(2.0, 2 * per_second)
        self._clock = clock
        self._left, self._at = self._most, clock()

    async def acquire(self, n: int = 1, *, urgent: bool = False) -> None:
        while (wait := self._take(n, urgent=urgent)) > 0:  # noqa: ASYNC110 - nobody sets an event
            await asyncio.sleep(wait)

    def rest(self, seconds: float) -> None:
        self._refill()
        self._left = min(self._left, -seconds * self._rate)

    def _take(self, n: int, *, urgent: bool) -> float:
        """Take n; or return how many seconds are missing."""
        self._refill()
        floor = 0.0 if urgent else min(self._most * SHARE_KEPT, self._most - n)
        missing = n + floor - self._left
        if missing <= 0:
            self._left -= n
            return 0.0
        return missing / self._rate

    def _refill(self) -> None:
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._at) * self._rate)
        self._at = now
