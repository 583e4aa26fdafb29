"""Delivery, every two seconds."""

from celery import shared_task

from events import services


@shared_task(name="events.deliver", ignore_result=True)
def deliver_events() -> None:
    """Tell what has happened since the last time."""
    services.deliver()
