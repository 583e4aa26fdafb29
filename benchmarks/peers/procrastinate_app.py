"""Procrastinate: its jobs are rows of the same PostgreSQL, so they are as durable as the orders.

Jobs of a dead worker are retried by the periodic task of its documentation ("Retry stalled jobs"),
there after 30 s and each 10 minutes, here sooner. One statement writes all jobs of a signal.
"""

import os
from collections.abc import Sequence
from typing import Any

from procrastinate import App, PsycopgConnector

from benchmarks.peers import job
from benchmarks.peers.settings import LOOK_SECONDS, QUEUE, STALLED_SECONDS

HEARTBEAT_SECONDS = STALLED_SECONDS / 3
SCHEMA = {"options": "-c search_path=procrastinate,public"}
app = App(
    connector=PsycopgConnector(conninfo=os.environ["DATABASE_URL"], kwargs=SCHEMA),
    worker_defaults={"update_heartbeat_interval": HEARTBEAT_SECONDS},
)
fill_one = app.task(name="fill_one", queue=QUEUE)(job.fill)


async def retry_stalled_jobs(context: object, timestamp: int) -> None:
    stalled: Any = await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_SECONDS)
    for one in stalled:
        await app.job_manager.retry_job(one)


app.periodic(cron=f"* * * * * */{LOOK_SECONDS}")(
    app.task(queue=QUEUE, queueing_lock="retry_stalled_jobs", pass_context=True)(retry_stalled_jobs)
)


def publish(signal_id: int, connection_ids: Sequence[str]) -> None:
    job.mark_published(signal_id)
    if not _is_open:
        app.open()
        _is_open.append(True)
    fill_one.batch_defer(*job.arguments(signal_id, connection_ids))


_is_open: list[bool] = []
