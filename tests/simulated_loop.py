"""An event loop on the test's own thread whose time passes only when nothing else is left to do.

For tests in which nothing but the loop's own clock is waited for: a time-out of seconds costs
nothing, and a pause of the machine changes nothing.
"""

import asyncio
import selectors
from collections.abc import Callable

ROUND = 0.0001  # seconds that a round of the loop takes, so that one which spins comes to an end


class _NoWaiting(selectors.DefaultSelector):
    """Lets the clock go on in place of waiting."""

    now = 1_000.0  # no zero: it may stand for what was never

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise AssertionError("the loop waits for something that cannot happen")
        self.now += ROUND if ready else max(ROUND, timeout or 0.0)
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop in simulated time. It runs only inside of `until`."""

    def __init__(self) -> None:
        self._time = _NoWaiting()
        super().__init__(self._time)

    def time(self) -> float:
        """Return its simulated seconds."""
        return self._time.now

    def until(self, is_so: Callable[[], object], seconds: float, every: float = 0.01) -> bool:
        """Run until a condition holds; return whether it does after so many simulated seconds."""

        async def poll() -> bool:
            end = self.time() + seconds
            while not (found := bool(is_so())) and self.time() < end:  # noqa: ASYNC110
                await asyncio.sleep(every)  # of simulated time: it costs nothing
            return found

        return self.run_until_complete(poll())

    def unfinished(self) -> set["asyncio.Task[object]"]:
        """Return its tasks, without that of `until` itself."""
        tasks = asyncio.all_tasks(self)
        return tasks - {asyncio.current_task(self)} if self.is_running() else tasks
