"""An event loop whose clock stands while its process does: a pause of a busy machine is no broker's
silence. For tests whose fake broker runs in their own process."""

import asyncio
import selectors
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
MAX_STEP = 0.02  # seconds by which the clock goes on between two looks at it


class _BriefSelector(selectors.DefaultSelector):
    """Waits only briefly, so that the loop looks at its clock while nothing happens."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        brief = MAX_STEP / 2
        return super().select(brief if timeout is None else min(timeout, brief))


class SteadyLoop(asyncio.SelectorEventLoop):
    """An event loop whose time-outs and delays last at least as long as stated, and longer by what
    its process stood still meanwhile."""

    def __init__(self) -> None:
        self._now = self._looked_at = time.monotonic()
        super().__init__(_BriefSelector())

    def time(self) -> float:
        """Return the seconds on its clock, which is behind `time.monotonic()`."""
        at = time.monotonic()
        self._now += min(at - self._looked_at, MAX_STEP)
        self._looked_at = at
        return self._now


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end on such a loop, as `asyncio.run` does."""
    with asyncio.Runner(loop_factory=SteadyLoop) as runner:
        return runner.run(work)
