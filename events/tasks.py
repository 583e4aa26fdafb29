"""The delivery task, run every two seconds."""

from celery import shared_task

from events import services


@shared_task(name="events.deliver", ignore_result=True)
def deliver_events() -> None:
    """Deliver the events that were written since the last run."""
    if services.is_anything_waiting():
        services.deliver()
