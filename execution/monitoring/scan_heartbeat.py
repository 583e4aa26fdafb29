"""Heartbeat of the level scan: recorded, continued without the scheduler, and alerted.

The scheduler (beat) requests a scan of all levels each minute. If it stops, the workers scan
without it, and the first trading process that notices alerts operators once.
"""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from django.db import transaction

from common.clocks import machine_time
from common.db.sql import Query, periodic_rows, rows, run
from common.db.stored_times import AHEAD_SECONDS
from events.models import EventKind
from events.services import emit
from execution.base.clock_steps import STATED_SECONDS, correct_after_step
from execution.monitoring.level_monitor import scan_levels

OVERDUE_SECONDS = 75  # workers scan without the scheduler from then on
LATE_SECONDS = 80  # so that operators are alerted within two minutes

RECORD_SCAN = """
INSERT INTO execution_levelscanheartbeat (id, scanned_at) VALUES (1, clock_timestamp())
ON CONFLICT (id) DO UPDATE SET scanned_at = EXCLUDED.scanned_at
"""
RECORD_SCHEDULED = """
WITH before AS (
  SELECT alerted_at FROM execution_levelscanheartbeat WHERE id = 1 FOR NO KEY UPDATE
), recorded AS (
  INSERT INTO execution_levelscanheartbeat (id, scheduled_at) VALUES (1, clock_timestamp())
  ON CONFLICT (id) DO UPDATE SET scheduled_at = EXCLUDED.scheduled_at, alerted_at = NULL
)
SELECT alerted_at FROM before WHERE alerted_at IS NOT NULL
"""


class LateScheduler(NamedTuple):
    """seconds: since the scheduler last ran; None: never. scanning: whether workers scan."""

    seconds: int | None
    scanning: bool


MARK_ALERTED = Query(
    LateScheduler,
    f"""
UPDATE execution_levelscanheartbeat SET alerted_at = clock_timestamp()
WHERE id = 1 AND alerted_at IS NULL
  AND coalesce(scheduled_at < clock_timestamp() - interval '{LATE_SECONDS} s', true)
RETURNING extract(epoch FROM clock_timestamp() - scheduled_at)::bigint AS seconds,
  coalesce(scanned_at > clock_timestamp() - interval '{LATE_SECONDS} s', false) AS scanning
""",
)


class ScanStatus(NamedTuple):
    """When levels were last scanned and when the scheduler last ran; ages in seconds. None: never.

    Machine time, by the database's clock. set_back_seconds: how far stored times lay in the future
    when that was found, within the last hour.
    """

    scanned_at: datetime | None = None
    scheduled_at: datetime | None = None
    scan_age: float | None = None
    schedule_age: float | None = None
    set_back_seconds: float | None = None

    @property
    def scan_is_late(self) -> bool:
        """Whether the last scan of all levels is more than LATE_SECONDS old, or in the future."""
        return _is_beyond(self.scan_age, LATE_SECONDS)

    @property
    def scheduler_is_late(self) -> bool:
        """Whether the scheduler has requested no scan for LATE_SECONDS, or did in the future."""
        return _is_beyond(self.schedule_age, LATE_SECONDS)

    @property
    def is_ahead(self) -> bool:
        """Whether either time lies in the future: the clock was set back, and nothing is known."""
        ages = [age for age in (self.scan_age, self.schedule_age) if age is not None]
        return min(ages, default=0.0) < -AHEAD_SECONDS

    @property
    def seconds_ahead(self) -> float | None:
        """How far the clock was set back, if that is known and not over for an hour."""
        if not self.is_ahead:
            return self.set_back_seconds
        return -min(age for age in (self.scan_age, self.schedule_age) if age is not None)

    @property
    def is_late(self) -> bool:
        """Whether the scan or the scheduler is late."""
        return self.scan_is_late or self.scheduler_is_late


def _is_beyond(age: float | None, most: float) -> bool:
    """Return whether an age is not known, greater than `most`, or that of a time in the future."""
    return age is None or not -AHEAD_SECONDS <= age <= most


SCAN_STATUS_SQL = f"""
SELECT scanned_at, scheduled_at,
  extract(epoch FROM clock_timestamp() - scanned_at)::float8 AS scan_age,
  extract(epoch FROM clock_timestamp() - scheduled_at)::float8 AS schedule_age,
  CASE WHEN clock_set_back_at > clock_timestamp() - interval '{STATED_SECONDS} s'
    THEN clock_set_back_seconds END AS set_back_seconds
FROM execution_levelscanheartbeat WHERE id = 1
"""
"""The fields of `ScanStatus`; no row: never scanned. For a statement that reads more than these."""
READ = Query(ScanStatus, SCAN_STATUS_SQL)


def scan_status() -> ScanStatus:
    """Return how long ago the levels were scanned; cheap enough for every page."""
    stored = rows(READ)
    return stored[0] if stored else ScanStatus()


def scan_as_scheduled() -> list[int]:
    """Scan all levels for the scheduler; return the exit orders to enqueue.

    Ends an alert about a late scheduler and notifies operators that it runs again.
    """
    with transaction.atomic():
        if rows(RECORD_SCHEDULED):
            emit(EventKind.SCHEDULER_BACK)
    return _scan()


def _present_status() -> ScanStatus:
    """Return `scan_status`, for jobs that read it every few seconds; no time of it is ahead."""
    stored = periodic_rows(READ)
    status = stored[0] if stored else ScanStatus()
    if not status.is_ahead:
        return status
    correct_after_step()
    return status._replace(scan_age=None, schedule_age=0.0)  # who wrote them is not known


def scan_if_overdue() -> list[int]:
    """Scan all levels if the last scan is overdue; return the exit orders to enqueue."""
    return _scan() if _is_beyond(_present_status().scan_age, OVERDUE_SECONDS) else []


def _scan() -> list[int]:
    order_ids = scan_levels()
    run(RECORD_SCAN)  # after the scan: a failed scan does not count
    return order_ids


def late_scheduler_alarm() -> Callable[[], None]:
    """Return the job that alerts operators once if the scheduler stops.

    It waits LATE_SECONDS first, since the scheduler may start at the same time as this process.
    """
    start_at = machine_time() + LATE_SECONDS

    def check() -> None:
        if machine_time() >= start_at:
            alert_late_scheduler()

    return check


def alert_late_scheduler() -> None:
    """Alert operators if the scheduler is late and no alert is open."""
    if not _present_status().scheduler_is_late:
        return
    with transaction.atomic():
        for late in rows(MARK_ALERTED):
            emit(
                EventKind.SCHEDULER_LATE,
                payload={"seconds": late.seconds, "scanning": late.scanning},
            )
