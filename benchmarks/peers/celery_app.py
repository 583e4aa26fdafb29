"""Celery with Redis, as its documentation recommends for tasks that must not be lost.

Acknowledged late, so that a worker that dies loses none; one message at a time. Redis redelivers
what was not acknowledged after the visibility time-out: an hour unless it is set, looked for each
100 s; here both are shorter.
"""

import os
from collections.abc import Sequence

from celery import Celery
from celery.signals import worker_ready, worker_shutdown

from benchmarks.peers import job
from benchmarks.peers.settings import LOOK_SECONDS, QUEUE, STALLED_SECONDS

# A worker of ours would start the trading runtime, whose jobs would work beside the peer's tasks.
worker_ready.disconnect(dispatch_uid="execution.runtime")
worker_shutdown.disconnect(dispatch_uid="execution.end")
app = Celery("peers", broker=os.environ["REDIS_URL"], fixups=[])  # the session is kept
app.conf.update(
    broker_connection_retry_on_startup=True, task_acks_late=True, task_default_queue=QUEUE,
    task_ignore_result=True, task_reject_on_worker_lost=True, worker_prefetch_multiplier=1,
    broker_transport_options={
        "visibility_timeout": STALLED_SECONDS, "unacked_restore_interval": LOOK_SECONDS,
        "unacked_restore_throttle": 1,
    },
)  # fmt: skip
fill_one = app.task(name="peers.fill_one")(job.fill)


def publish(signal_id: int, connection_ids: Sequence[str]) -> None:
    job.mark_published(signal_id)
    with app.producer_pool.acquire(block=True) as producer:
        for arguments in job.arguments(signal_id, connection_ids):
            fill_one.apply_async(kwargs=arguments, producer=producer)
