"""Reports that wait: an exit's executions, told before those of its entry, and what other sessions
hold the rows of.

They are in no row yet. Should this process die, their orders are looked up or compared again, and
the broker tells them once more.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from brokers.messages import OrderReport

log = structlog.get_logger(__name__)

HOLD_SECONDS, AGAIN_SECONDS = 60.0, 1.0  # how long they wait, and how often they are tried
MOST = 5000  # of them at once; what is more is left to be told again by look-ups and comparisons

Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """A report that waits. until: time.monotonic(); then it is applied as far as it fits."""

    report: OrderReport
    until: float


def _key(report: OrderReport) -> Key:
    """The same thing told again, by a poll or a look-up, waits no second time."""
    fills = tuple((fill.broker_fill_id, fill.revision, fill.quantity) for fill in report.fills)
    return report.kind, report.connection_id, report.client_order_id, report.broker_order_id, fills


class Waiting:
    """What waits in this process. Any thread may keep reports here; the flusher tries them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[Key, Held] = {}
        self._again_at = 0.0

    def keep(self, reports: Sequence[OrderReport]) -> None:
        """Have these told again for a while."""
        until = time.monotonic() + HOLD_SECONDS
        with self._lock:
            for report in reports:
                if len(self._held) < MOST:
                    self._held.setdefault(_key(report), Held(report, until))
                else:
                    log.error("too much waits: a report is not held", report=repr(report))

    def put_back(self, held: Sequence[Held]) -> None:
        """What was taken and has to wait on; its time goes on as it began."""
        with self._lock:
            self._held |= {_key(one.report): one for one in held}

    def take(self) -> tuple[list[Held], list[Held]]:
        """Take all of it, at most once in `AGAIN_SECONDS`: what may wait on, and what may not."""
        now = time.monotonic()
        with self._lock:
            if not self._held or now < self._again_at:
                return [], []
            held, self._held, self._again_at = [*self._held.values()], {}, now + AGAIN_SECONDS
        return [one for one in held if one.until > now], [one for one in held if one.until <= now]


waiting = Waiting()
