"""Dramatiq with Redis. It acknowledges late by default.

Messages of a dead worker are requeued by maintenance, once its heartbeat is older than a minute;
maintenance is done at one of a thousand commands. Here both are sooner.
"""

import os
from collections.abc import Sequence

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.peers import job
from benchmarks.peers.settings import MAINTENANCE_IN_A_MILLION, QUEUE, STALLED_SECONDS

broker = RedisBroker(
    url=os.environ["REDIS_URL"], heartbeat_timeout=1000 * STALLED_SECONDS,
    maintenance_chance=MAINTENANCE_IN_A_MILLION,
)  # fmt: skip
dramatiq.set_broker(broker)
fill_one = dramatiq.actor(queue_name=QUEUE, actor_name="fill_one")(job.fill)


def publish(signal_id: int, connection_ids: Sequence[str]) -> None:
    job.mark_published(signal_id)
    for arguments in job.arguments(signal_id, connection_ids):
        fill_one.send(**arguments)
