"""The audit trail, every five minutes."""

import structlog
from celery import shared_task

from common.trail_check import checkpoint

log = structlog.get_logger(__name__)


@shared_task(name="users.checkpoint_trail", ignore_result=True)
def checkpoint_trail() -> None:
    """Check the lines that are new, and sign the head of the trail."""
    if checkpoint() is None:
        log.error("audit_trail_broken", remedy="manage.py verify_trail says what is wrong")
