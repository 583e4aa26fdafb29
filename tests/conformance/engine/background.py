"""A stage on an event loop of its own: fakes and engine go on while a check waits."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

from conformance.harness import Harness
from conformance.runner import OpenHarness

T = TypeVar("T")
SECONDS = 60.0


class BackgroundLoop:
    """An event loop on a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` on the loop and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(SECONDS)

    def stop(self) -> None:
        """End the loop with its tasks and threads."""
        self.run(_end_tasks())
        self.run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SECONDS)
        self._loop.close()


async def _end_tasks() -> None:
    pending = asyncio.all_tasks() - {asyncio.current_task()}
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)


@contextmanager
def opened(open_harness: OpenHarness, loop: BackgroundLoop) -> Iterator[Harness]:
    """Open a stage on a loop."""
    context = open_harness()
    harness = loop.run(_entered(context))
    try:
        yield harness
    finally:
        loop.run(_left(context))


@contextmanager
def background_loop() -> Iterator[BackgroundLoop]:
    """Run an event loop."""
    loop = BackgroundLoop()
    try:
        yield loop
    finally:
        loop.stop()


async def _entered(context: AbstractAsyncContextManager[Harness]) -> Harness:
    return await context.__aenter__()


async def _left(context: AbstractAsyncContextManager[Harness]) -> None:
    await context.__aexit__(None, None, None)
