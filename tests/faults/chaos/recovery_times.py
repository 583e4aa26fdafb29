"""How much was in flight at each fault, and how long until all of it was settled."""

import time
from dataclasses import dataclass, field

import psycopg

from tests.faults.chaos.fault_plan import Step
from tests.faults.servers import Database

# By the indexes of live rows: asked twice a second, it must not be a load of its own.
OPEN = """
SELECT id FROM execution_order WHERE status = 'PENDING'
UNION ALL SELECT id FROM execution_order WHERE status IN ('SUBMITTING', 'UNKNOWN')
UNION ALL SELECT id FROM execution_order WHERE status = 'CANCEL_REQUESTED'
UNION ALL SELECT id FROM execution_order
  WHERE pending_action <> '' AND status NOT IN ('PENDING', 'SUBMITTING', 'UNKNOWN',
    'CANCEL_REQUESTED')
"""


@dataclass(slots=True)
class FaultRecovery:
    """A fault and what was open when it struck."""

    step: Step
    at: float
    in_flight: int | None = None
    open: set[int] = field(default_factory=set)
    recovered_s: float | None = None


class RecoveryMonitor:
    """Asks our database; while that is away nothing is known, and nothing counts as settled."""

    def __init__(self, ours: Database) -> None:
        self._ours = ours
        self.seen: list[FaultRecovery] = []
        self._last: set[int] = set()

    def note(self, step: Step) -> FaultRecovery:
        """A fault is about to strike."""
        now = self.look()
        seen = FaultRecovery(step, time.monotonic(), None if now is None else len(now))
        seen.open = set(self._last)
        self.seen.append(seen)
        return seen

    def drop(self, seen: FaultRecovery) -> None:
        """It did not strike after all."""
        self.seen.remove(seen)

    def look(self) -> set[int] | None:
        """See what is open now; None: the database does not answer."""
        try:
            now = {row.id for row in self._ours.rows(OPEN)}
        except psycopg.Error:
            return None
        at = time.monotonic()
        for seen in self.seen:
            if seen.recovered_s is None:
                seen.open &= now
                if not seen.open:
                    seen.recovered_s = at - seen.at
        self._last = now
        return now

    @property
    def in_flight_max(self) -> int:
        """The most orders in flight at a kill of a process of ours."""
        return max((s.in_flight or 0 for s in self.seen if s.step.kind == "kill"), default=0)

    @property
    def recovery_s_max(self) -> float | None:
        """The slowest recovery; None: something that was open at a fault still is."""
        if any(seen.recovered_s is None for seen in self.seen):
            return None
        return max((seen.recovered_s or 0.0 for seen in self.seen), default=0.0)

    @property
    def slowest(self) -> FaultRecovery | None:
        """The fault after which it took longest."""
        return max(self.seen, key=lambda s: s.recovered_s or 0.0, default=None)
