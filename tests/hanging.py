"""A call that hangs until it is released, and a thread to call it from."""

import asyncio
import threading
from collections.abc import Callable

from django.db import connection


class Hang:
    """`await hang()` in a fake waits; `end` releases all callers, from any thread."""

    def __init__(self) -> None:
        self._held: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._over = False

    async def __call__(self) -> None:
        if self._over:
            return
        event = asyncio.Event()
        self._held.append((asyncio.get_running_loop(), event))
        await event.wait()

    async def late(self) -> str:
        """Hang, then return a result."""
        await self()
        return "late"

    def end(self) -> None:
        self._over = True
        for loop, event in self._held:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)


def beside(what: Callable[[], object]) -> threading.Thread:
    """Run a function on a new thread, with a database connection of its own."""

    def run() -> None:
        try:
            what()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread
