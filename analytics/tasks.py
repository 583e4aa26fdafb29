"""Celery task of the daily results."""

from celery import shared_task

from analytics import services


@shared_task(name="analytics.compute_daily", ignore_result=True)
def compute_daily() -> None:
    """Compute the current trading day, the last ones and those corrected since."""
    services.compute_changed()
