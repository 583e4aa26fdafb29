"""One request at a time where requests must not overtake each other; what is urgent goes first."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class PriorityLock:
    """Kraken refuses a request whose number is below the last one's, so they go one by one."""

    def __init__(self) -> None:
        self._busy = False
        self._waiting: tuple[deque[asyncio.Future[None]], ...] = (deque(), deque())

    @asynccontextmanager
    async def taken(self, *, urgent: bool) -> AsyncIterator[None]:
        """Wait for the turn, and keep it for the block."""
        if self._busy:
            await self._wait(self._waiting[0 if urgent else 1])
        self._busy = True
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, line: deque[asyncio.Future[None]]) -> None:
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self._pass_on()  # it had been given the turn already
            raise

    def _pass_on(self) -> None:
        """Give the turn to the next who still waits; it stays taken until that one runs."""
        for line in self._waiting:
            while line:
                if not (next_ := line.popleft()).done():
                    next_.set_result(None)
                    return
        self._busy = False
