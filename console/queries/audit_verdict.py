"""What the last hourly audit found, for the dashboard."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from common.db.sql import rows
from common.db.stored_times import AHEAD_SECONDS
from execution.audit.counter_help import COUNTERS

LATE_SECONDS = 7200  # two hourly audits missed
MAX_SHOWN = 5  # accounts that could not be checked

_LAST = """
SELECT at, ok, counters, unread, judged, not_judged,
  extract(epoch FROM clock_timestamp() - at)::float8 AS ago
FROM execution_auditrun ORDER BY id DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """A counter that is not 0: its meaning, and what to do."""

    name: str
    count: int
    meaning: str
    remedy: str


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """The last audit. ago: seconds. unread: broker types whose books could not be read."""

    at: datetime
    ago: float
    findings: Sequence[Finding]
    unread: Sequence[str]
    judged: int
    not_judged: Sequence[Any]

    @property
    def is_late(self) -> bool:
        return not -AHEAD_SECONDS <= self.ago <= LATE_SECONDS

    @property
    def badge(self) -> tuple[str, str]:
        """The badge for the worst finding: shape and label."""
        if self.findings:
            return "unprotected", "Not in order"
        if self.is_late:
            return "attention", "Overdue"
        if self.unread or self.not_judged:
            return "attention", "In order, partly checked"
        return "ok", "In order"

    @property
    def first_not_judged(self) -> Sequence[Any]:
        return self.not_judged[:MAX_SHOWN]

    @property
    def more_not_judged(self) -> int:
        return max(0, len(self.not_judged) - MAX_SHOWN)


def last_verdict() -> AuditVerdict | None:
    """Return what the last audit found; None before the first."""
    for row in rows(_LAST):
        findings = [
            Finding(name, count, *COUNTERS.get(name, ("", "")))
            for name, count in row.counters.items()
            if count
        ]
        return AuditVerdict(row.at, row.ago, findings, row.unread, row.judged, row.not_judged)
    return None
