"""Waiting until all orders are settled, with reports on those that are not."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults.chaos.recovery_times import OPEN, RecoveryMonitor
from tests.faults.invariants import InvariantCounts
from tests.faults.servers import Database

REPORT_EVERY = 10.0  # seconds
WHAT_IS_OPEN = f"""
SELECT concat_ws(' ', leg, status, nullif(pending_action, ''), nullif(reason, '')) AS kind,
  count(*) AS n, min(absence_confirmations) AS absence_confirmations,
    max(pending_action_attempts) AS tries,
  round(extract(epoch FROM max(coalesce(lookup_after, due_at)) - clock_timestamp()), 1) AS next_s,
  round(extract(epoch FROM clock_timestamp() - min(submitted_at)), 1) AS submitted_s_ago
FROM execution_order WHERE id IN ({OPEN}) GROUP BY 1 ORDER BY 2 DESC
"""


@dataclass(slots=True)
class SettleWait:
    """Polls until no order is open and all of the broker's events are acknowledged."""

    ours: Database
    recovery: RecoveryMonitor
    count: InvariantCounts
    report_progress: Callable[[str], None]
    took_s: float | None = None  # None: not yet
    open_at: dict[int, list[str]] = field(default_factory=dict)  # by second: what was open
    _began: float = field(default_factory=time.monotonic)

    def is_over(self) -> bool:
        """Return whether all is settled; every ten seconds, record what is not."""
        if self.recovery.poll() == set() and self.count.unacknowledged_events() == 0:
            self.took_s = time.monotonic() - self._began
            return True
        second = int(time.monotonic() - self._began)
        if second >= max(self.open_at, default=0) + REPORT_EVERY:
            self.open_at[second] = self._what_is_open()
            self.report_progress(f"  open after {second} s: {'; '.join(self.open_at[second])}")
        return False

    def _what_is_open(self) -> list[str]:
        lines = [
            f"{row.n} {row.kind} (submitted up to {row.submitted_s_ago} s ago, next look in up to"
            f" {row.next_s} s, at least {row.absence_confirmations} absence_confirmations, up to"
            f" {row.tries} cancels)"
            for row in self.ours.rows(WHAT_IS_OPEN)
        ]
        return [
            *lines,
            f"{self.count.unacknowledged_events()} events of the broker not acknowledged",
        ]
