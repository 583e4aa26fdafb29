"""Reports that wait for others: an exit's executions, told before those of its entry.

They are in no row yet. Should this process die, their orders are looked up or compared again, and
the broker tells them once more.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from brokers.messages import OrderReport

HOLD_SECONDS, AGAIN_SECONDS = 60.0, 1.0  # how long they wait, and how often they are tried
MOST = 1000  # of them at once; the oldest beyond wait no longer


@dataclass(frozen=True, slots=True)
class Held:
    """A report that waits. until: time.monotonic(); then it is applied as far as it fits."""

    report: OrderReport
    until: float


class Waiting:
    """What waits in this process. Any thread may keep reports here; the flusher tries them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: list[Held] = []
        self._again_at = 0.0

    def keep(self, reports: Sequence[OrderReport]) -> None:
        """Have these told again for a while."""
        until = time.monotonic() + HOLD_SECONDS
        with self._lock:
            self._held += [Held(report, until) for report in reports]

    def put_back(self, held: Sequence[Held]) -> None:
        """What was taken and has to wait on; its time goes on as it began."""
        with self._lock:
            self._held = [*held, *self._held]

    def take(self) -> tuple[list[Held], list[OrderReport]]:
        """Take all of it, at most once in `AGAIN_SECONDS`: what may wait on, and what may not."""
        now = time.monotonic()
        with self._lock:
            if not self._held or now < self._again_at:
                return [], []
            held, self._held, self._again_at = self._held, [], now + AGAIN_SECONDS
        beyond = max(0, len(held) - MOST)
        over = [one.report for n, one in enumerate(held) if n < beyond or one.until <= now]
        return [one for one in held[beyond:] if one.until > now], over


waiting = Waiting()
