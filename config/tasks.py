"""The whole audit trail, once a day."""

import structlog
from celery import shared_task

from common.audit_trail_check import verify
from console.tracked_tables import TRACKED
from users.trail_alarm import clear_alarm, raise_alarm

log = structlog.get_logger(__name__)


@shared_task(name="config.verify_trail", ignore_result=True)
def verify_trail() -> None:
    """Check every line of the audit trail, its checkpoints and its triggers.

    Raises the alarm if something is wrong, and ends it if nothing is.
    """
    found = verify([one.table for one in TRACKED])
    if not found.wrong:
        clear_alarm()
        return
    log.error("audit_trail_broken", findings=found.wrong[:5], lines=found.lines)
    raise_alarm(found.wrong)
