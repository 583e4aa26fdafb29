"""Celery tasks of daily results, of the records of feeds and of preflights."""

from celery import shared_task

from analytics import services
from analytics.installation import compute
from analytics.preflight.jobs import run_next
from analytics.records import computation as feed_records
from signals.records.jobs import anchor_all, verify_all


@shared_task(name="analytics.compute_daily", ignore_result=True)
def compute_daily() -> None:
    """Compute the current trading day, the last ones and those corrected since.

    Also what trades cost, and the medians of how each signal was executed for all persons.
    """
    services.compute_changed()
    services.compute_costs()
    services.compute_signal_quality()


@shared_task(name="analytics.compute_execution", ignore_result=True)
def compute_execution() -> None:
    """Bring the figures of how the installation executes up to date."""
    compute.compute_due()


@shared_task(name="analytics.compute_records", ignore_result=True)
def compute_records() -> None:
    """Sign the heads of all records, and bring their figures up to date."""
    anchor_all()
    feed_records.compute_records()


@shared_task(name="analytics.verify_records", ignore_result=True)
def verify_records() -> None:
    """Check every link of every record, and report those that are broken only now."""
    verify_all()


@shared_task(name="analytics.run_preflights", ignore_result=True)
def run_preflights() -> None:
    """Run the next preflight that a user asked for: one, as other work waits in the same queue."""
    run_next()
