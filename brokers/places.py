"""How many calls may be under way at once: in all, and to one host.

A host that hangs holds its own share of the places and no more, so whoever asks many brokers at
once is never held up by one of them.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Places:
    """Places for calls on one event loop; `async with places.of(host)` waits for a free one."""

    def __init__(self, *, in_all: int, per_host: int) -> None:
        self._all = asyncio.Semaphore(in_all)
        self._hosts: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(per_host))

    @asynccontextmanager
    async def of(self, host: str) -> AsyncIterator[None]:
        """Hold a place for a call to this host. Its own are taken first: who waits for them holds
        none of the others'."""
        async with self._hosts[host], self._all:
            yield
