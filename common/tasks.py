"""Housekeeping of the tables that all apps share."""

import structlog
from celery import shared_task

from common.web.kept_answers import sweep_kept_answers

log = structlog.get_logger(__name__)


@shared_task(name="common.sweep_kept_answers", ignore_result=True)
def sweep_kept_answers_task() -> None:
    """Delete the answers of requests with an Idempotency-Key that are older than a day."""
    if deleted := sweep_kept_answers():
        log.info("kept answers deleted", rows=deleted)
