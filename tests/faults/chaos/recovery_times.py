"""How many orders were in flight at each fault, and the time until all of them were settled."""

import time
from dataclasses import dataclass, field

import psycopg

from tests.faults.chaos.fault_plan import Step
from tests.faults.servers import Database

# It uses the indexes of live rows, since it runs twice a second and must not add load.
OPEN = """
SELECT id FROM execution_order WHERE status = 'PENDING' AND id > 0
UNION ALL SELECT id FROM execution_order WHERE status IN ('SUBMITTING', 'UNKNOWN')
UNION ALL SELECT id FROM execution_order WHERE status = 'CANCEL_REQUESTED'
UNION ALL SELECT id FROM execution_order
  WHERE pending_action <> '' AND status NOT IN ('PENDING', 'SUBMITTING', 'UNKNOWN',
    'CANCEL_REQUESTED')
"""


@dataclass(slots=True)
class FaultRecovery:
    """A fault and the orders that were open at that time."""

    step: Step
    at: float
    in_flight: int | None = None
    open: set[int] = field(default_factory=set)
    recovered_s: float | None = None


class RecoveryMonitor:
    """Polls our database; while it is unreachable, nothing counts as settled."""

    def __init__(self, ours: Database) -> None:
        self._ours = ours
        self.faults: list[FaultRecovery] = []
        self._open: set[int] = set()

    def record(self, step: Step) -> FaultRecovery:
        """Record a fault that is about to be injected."""
        now = self.poll()
        fault = FaultRecovery(step, time.monotonic(), None if now is None else len(now))
        fault.open = set(self._open)
        self.faults.append(fault)
        return fault

    def drop(self, fault: FaultRecovery) -> None:
        """Remove a fault that had no effect."""
        self.faults.remove(fault)

    def poll(self) -> set[int] | None:
        """Return the ids of all open orders; None if the database does not answer."""
        try:
            now = {row.id for row in self._ours.rows(OPEN)}
        except psycopg.Error:
            return None
        at = time.monotonic()
        for fault in self.faults:
            if fault.recovered_s is None:
                fault.open &= now
                if not fault.open:
                    fault.recovered_s = at - fault.at
        self._open = now
        return now

    @property
    def in_flight_max(self) -> int:
        """The largest number of orders in flight when one of our processes was killed."""
        return max((s.in_flight or 0 for s in self.faults if s.step.kind == "kill"), default=0)

    @property
    def recovery_s_max(self) -> float | None:
        """The longest recovery; None if an order that was open at a fault still is."""
        if any(fault.recovered_s is None for fault in self.faults):
            return None
        return max((fault.recovered_s or 0.0 for fault in self.faults), default=0.0)

    @property
    def slowest(self) -> FaultRecovery | None:
        """The fault with the longest recovery."""
        return max(self.faults, key=lambda s: s.recovered_s or 0.0, default=None)
