"""A Celery project without Django: what workers and beat cost that have nothing to do."""

import os

from celery import Celery

app = Celery("plain", broker=os.environ["REDIS_URL"])
app.conf.update(
    beat_max_loop_interval=1, beat_schedule={"nothing": {"task": "plain.nothing", "schedule": 2.0}},
    broker_connection_retry_on_startup=True, task_default_queue="plain", task_ignore_result=True,
)  # fmt: skip


@app.task(name="plain.nothing")
def nothing() -> None:
    """Do nothing, as often as the stack delivers events."""
