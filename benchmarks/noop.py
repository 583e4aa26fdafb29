"""A task that does nothing: the least that a Celery message costs."""

from celery import shared_task


@shared_task(name="benchmarks.noop", ignore_result=True)
def noop(order_ids: list[int]) -> None:
    """Do nothing. The message has the same form as those of trading."""
