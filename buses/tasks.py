"""Celery tasks of buses."""

from celery import shared_task

from buses import alarm


@shared_task(name="buses.watch", ignore_result=True)
def watch() -> None:
    """Alert operators of buses that fall behind."""
    alarm.watch()
