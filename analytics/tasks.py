"""Celery task of the daily results."""

from celery import shared_task

from analytics import services


@shared_task(name="analytics.compute_daily", ignore_result=True)
def compute_daily() -> None:
    """Compute the current trading day, the last ones and those corrected since.

    Also what trades cost, and the medians of how all accounts executed each signal.
    """
    services.compute_changed()
    services.compute_costs()
    services.compute_signal_quality()
