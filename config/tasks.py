"""The daily check of the whole audit trail; the start of the archive's runs."""

import structlog
from celery import shared_task

from common.db.audit_trail_check import verify
from config import retention
from console.tracked_tables import TRACKED
from users.trail_alarm import clear_alarm, raise_alarm

log = structlog.get_logger(__name__)


@shared_task(name="config.verify_trail", ignore_result=True)
def verify_trail() -> None:
    """Check every line of the audit trail, its checkpoints and its triggers.

    Raises the alarm if something is wrong, and clears it if nothing is.
    """
    result = verify([tracked.table for tracked in TRACKED])
    if not result.wrong:
        clear_alarm()
        return
    log.error("audit_trail_broken", findings=result.wrong[:5], lines=result.lines)
    raise_alarm(result.wrong)


@shared_task(name="config.archive_old_rows", ignore_result=True)
def archive_old_rows() -> None:
    """Start a process that moves old rows to the archive."""
    retention.start_archiving()
