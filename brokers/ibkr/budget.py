"""How many messages a gateway takes in a second: TWS cuts the line of who sends more than 50.

Source: IBKR's "Pacing Limitations" (50 messages a second for a client application); we keep to 45.
"""

import asyncio
from collections import deque
from heapq import heappop, heappush
from itertools import count
from typing import Protocol

MESSAGES_PER_SECOND = 45
PARTS = 3  # of a second, each with its part of them: nothing leaves in one burst, exits wait less


class Budget(Protocol):
    """A gateway's allowance. One in this process now, one shared between processes later."""

    async def acquire(self, n: int, *, urgent: bool) -> None:
        """Wait until `n` messages may leave together. urgent: exits, before all others."""
        ...


class Window:
    """At most so many messages in any such time, exits first."""

    def __init__(
        self, most: int = MESSAGES_PER_SECOND // PARTS, seconds: float = 1 / PARTS
    ) -> None:
        self._most, self._seconds = most, seconds
        self._left_at: deque[float] = deque()
        self._waiting: list[tuple[bool, int, int, asyncio.Future[None]]] = []
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None

    async def acquire(self, n: int, *, urgent: bool) -> None:
        """Wait until `n` messages may leave together."""
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._waiting, (not urgent, next(self._numbers), min(n, self._most), told))
        self._admit()
        await told

    def _admit(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._left_at and now - self._left_at[0] >= self._seconds:
            self._left_at.popleft()
        while self._waiting:
            _, _, n, told = self._waiting[0]
            if not told.done():
                if len(self._left_at) + n > self._most:
                    break
                self._left_at.extend([now] * n)
                told.set_result(None)
            heappop(self._waiting)
        if self._waiting and self._timer is None:
            self._timer = loop.call_later(self._left_at[0] + self._seconds - now, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._admit()
