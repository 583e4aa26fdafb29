"""Connections by health, live processes and scheduled jobs, for the dashboard."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django_celery_beat.models import PeriodicTask

from common.db.sql import rows
from common.db.stored_times import AHEAD_SECONDS
from common.reason_codes import Code
from connections.eligibility import REASON_SQL, eligibility_parameters
from console.charts import Segment, segments
from console.schedule_texts import clock_schedule, interval

# REASON_SQL is the condition that fan-out uses.
_CONNECTIONS = f"""
SELECT reason, count(*) AS count FROM (
  SELECT {REASON_SQL} AS reason
  FROM connections_executionconnection c
  LEFT JOIN connections_connectionhealth h ON h.connection_id = c.id
  LEFT JOIN connections_subscription s ON FALSE
  WHERE c.archived_at IS NULL
) each_one GROUP BY reason
"""
CSS_CLASSES: dict[str, tuple[str, str]] = {  # code → badge, bar
    Code.TRADING_HALTED: ("rejected", "rejected"),
    Code.ENTRIES_HALTED: ("attention", "warn"),
    Code.CONNECTION_INACTIVE: ("cancelled", "cancelled"),
    Code.CONNECTION_PAUSED: ("paused", "skipped"),
    Code.LOSS_LIMIT: ("paused", "skipped"),
    Code.DRAWDOWN_LIMIT: ("paused", "skipped"),
    Code.REALIZED_LOSS_LIMIT: ("paused", "skipped"),
    Code.LOSING_STREAK: ("paused", "skipped"),
    Code.NO_CREDENTIALS: ("attention", "warn"),
    Code.NO_PRESET: ("attention", "warn"),
    Code.NO_DATA_CONNECTION: ("attention", "warn"),
    Code.CONNECTION_UNTESTED: ("pending", "expired"),
    Code.CONNECTION_TEST_PENDING: ("pending", "expired"),
    Code.NO_SESSION_WORKER: ("attention", "warn"),
    Code.CONNECTION_ERROR: ("rejected", "rejected"),
    Code.ACCOUNT_TRADING_DISABLED: ("rejected", "rejected"),
    Code.ACCOUNT_ANSWER_UNUSABLE: ("rejected", "rejected"),
    Code.CONNECTION_UNREACHABLE: ("rejected", "rejected"),
    Code.CIRCUIT_OPEN: ("rejected", "rejected"),
    Code.CONNECTION_NOT_RECONCILED: ("validated", "expired"),
}
LABELS: dict[str, str] = {
    Code.TRADING_HALTED: "Halted",
    Code.ENTRIES_HALTED: "Exits only",
    Code.CONNECTION_INACTIVE: "Switched off",
    Code.CONNECTION_PAUSED: "Paused by owner",
    Code.LOSS_LIMIT: "Loss limit",
    Code.DRAWDOWN_LIMIT: "Drawdown limit",
    Code.REALIZED_LOSS_LIMIT: "Limit of closed trades",
    Code.LOSING_STREAK: "Losing streak",
    Code.NO_CREDENTIALS: "No credentials",
    Code.NO_PRESET: "No preset",
    Code.NO_DATA_CONNECTION: "No price source",
    Code.CONNECTION_UNTESTED: "Never tested",
    Code.CONNECTION_TEST_PENDING: "Test requested",
    Code.NO_SESSION_WORKER: "No worker",
    Code.CONNECTION_ERROR: "Error",
    Code.ACCOUNT_TRADING_DISABLED: "Trading disabled",
    Code.ACCOUNT_ANSWER_UNUSABLE: "Invalid answer",
    Code.CONNECTION_UNREACHABLE: "Not responding",
    Code.CIRCUIT_OPEN: "Circuit open",
    Code.CONNECTION_NOT_RECONCILED: "Not yet compared",
}


@dataclass(frozen=True, slots=True)
class HealthLine:
    """How many connections have this reason not to trade; an empty code: they trade."""

    code: str
    count: int

    @property
    def css(self) -> str:
        return CSS_CLASSES[self.code][0] if self.code else "ok"

    @property
    def label(self) -> str:
        return LABELS[self.code] if self.code else "Healthy"

    @property
    def sentence(self) -> str:
        return Code(self.code).sentence if self.code else "Ready to trade the next signal."


@dataclass(frozen=True, slots=True)
class Connections:
    """All live connections; each is counted in exactly one line."""

    lines: Sequence[HealthLine]

    @property
    def total(self) -> int:
        return sum(line.count for line in self.lines)

    @property
    def not_trading_lines(self) -> list[HealthLine]:
        return [line for line in self.lines if line.code]

    @property
    def not_trading(self) -> int:
        return sum(line.count for line in self.not_trading_lines)

    @property
    def breakdown(self) -> str:
        return " + ".join(f"{line.count:,} {line.label.lower()}" for line in self.not_trading_lines)

    @property
    def bar(self) -> list[Segment]:
        parts: dict[str, int] = {}
        for line in self.lines:
            css = CSS_CLASSES[line.code][1] if line.code else "filled"
            parts[css] = parts.get(css, 0) + line.count
        return segments(parts)

    @property
    def bar_label(self) -> str:
        return ", ".join(f"{line.count:,} {line.label.lower()}" for line in self.lines)


def connections() -> Connections:
    """Count the connections by fan-out's eligibility rules, without feeds and subscriptions."""
    found = rows(_CONNECTIONS, eligibility_parameters(feed_id=None, direction=None))
    order = ["", *CSS_CLASSES]
    lines = [HealthLine(row.reason or "", row.count) for row in found]
    return Connections(sorted(lines, key=lambda line: order.index(line.code)))


@dataclass(frozen=True, slots=True)
class Lease:
    """One process. left: seconds until its lease expires; negative: it has expired."""

    id: str
    role: str
    host: str
    pid: int
    left: float

    @property
    def alive(self) -> bool:
        return self.left > 0

    @property
    def expired_for(self) -> float:
        """Seconds since its lease expired."""
        return -self.left


_LEASES = """
SELECT id, role, host, pid,
       extract(epoch FROM lease_until - clock_timestamp())::float8 AS "left"
FROM execution_workerlease ORDER BY lease_until > clock_timestamp(), role, id LIMIT 100
"""


def leases() -> list[Lease]:
    """Return the processes with a lease, expired ones first."""
    return [Lease(*row) for row in rows(_LEASES)]


@dataclass(frozen=True, slots=True)
class ScheduledJob:
    """A scheduled job. ago: seconds since beat last started it; None: never."""

    task: PeriodicTask
    ago: float | None
    every: str
    is_late: bool


def scheduled_jobs(now: datetime) -> list[ScheduledJob]:
    """Return the enabled schedules, late ones first, then by their last start."""
    tasks = PeriodicTask.objects.filter(enabled=True).select_related("interval", "crontab")
    return sorted(
        (_scheduled_job(task, now) for task in tasks),
        key=lambda job: (not job.is_late, job.ago or 0),
    )


def _scheduled_job(task: PeriodicTask, now: datetime) -> ScheduledJob:
    ago = (now - task.last_run_at).total_seconds() if task.last_run_at else None
    if not task.interval:
        when = clock_schedule(task.crontab) if task.crontab else str(task.schedule)
        return ScheduledJob(task, ago, when, is_late=False)
    every = task.interval.schedule.run_every.total_seconds()
    return ScheduledJob(
        task,
        ago,
        interval(int(every)),
        is_late=ago is not None and not -AHEAD_SECONDS <= ago <= 3 * every + 10,
    )
