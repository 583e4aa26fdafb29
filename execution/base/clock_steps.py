"""What is done after the database's clock was set back: times corrected, operators alerted.

Each process notices it within a second, by the leases: none ends later than its length from now.
After a start the times are looked at once, since the clock may have been set while nothing ran.
"""

from datetime import datetime
from typing import NamedTuple

import structlog
from django.db import transaction

from common.db.sql import Query, rows
from common.db.stored_times import AHEAD_SECONDS, Found, correct_times_ahead
from common.process.job_alarm import JobAlarm
from events.models import EventKind
from events.services import emit

log = structlog.get_logger(__name__)
ALARM = JobAlarm()
"""Set when a process notices that the clock was set back; the job then corrects the times."""
STATED_SECONDS = 3600  # on the pages, after it was found

# Several processes notice the same step; one states it.
RECORD = """
UPDATE execution_levelscanheartbeat
SET clock_set_back_at = clock_timestamp(), clock_set_back_seconds = %s
WHERE id = 1 AND (clock_set_back_at IS NULL OR clock_set_back_at > clock_timestamp()
  OR clock_set_back_at < clock_timestamp() - interval '1 minute')
RETURNING id
"""


class Step(NamedTuple):
    """When stored times were last found to lie in the future, and how far."""

    at: datetime
    seconds: float


LAST_STEP = Query(
    Step,
    """
SELECT clock_set_back_at AS at, clock_set_back_seconds AS seconds
FROM execution_levelscanheartbeat
WHERE clock_set_back_at BETWEEN clock_timestamp() - interval '1 day' AND clock_timestamp()
""",
)


def notice_step(seconds_ahead: float) -> None:
    """Let the job correct stored times if a lease ends so much later than it can."""
    if seconds_ahead > AHEAD_SECONDS:
        ALARM.set()


def correct_after_step() -> list[Found]:
    """Set stored times that lie in the future to now, and alert operators; return what it found."""
    found = correct_times_ahead()
    if not found:
        return found
    seconds = max(one.seconds for one in found)
    tables = {one.table: one.count for one in found}
    log.error("stored times lay in the future: the clock was set back", seconds=seconds, **tables)
    with transaction.atomic():
        if rows(RECORD, (seconds,)):
            emit(EventKind.CLOCK_SET_BACK, payload={"seconds": round(seconds), "tables": tables})
    return found


def last_step() -> Step | None:
    """Return what was last found and corrected, within a day."""
    return next(iter(rows(LAST_STEP)), None)
