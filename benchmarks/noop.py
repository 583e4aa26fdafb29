"""The least that Celery can do: what one message costs."""

from celery import shared_task


@shared_task(name="benchmarks.noop", ignore_result=True)
def noop(order_ids: list[int]) -> None:
    """Do nothing with a message of the shape that trading uses."""
