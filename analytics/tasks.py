"""The daily job."""

from celery import shared_task

from analytics import services


@shared_task(name="analytics.compute_daily", ignore_result=True)
def compute_daily() -> None:
    """Compute the running trading day, those just ended and all that were corrected since."""
    services.compute_changed()
