"""Celery's queues: in Redis, or in RabbitMQ if FILLCAST_QUEUE_URL names one.

A priority is 0, 3, 6 or 9, and messages with the lowest value are taken first, as Celery's Redis
transport does. RabbitMQ takes those with the highest value first.
"""

from collections.abc import Iterable
from typing import Any

from celery import current_app
from django.conf import settings
from redis import Redis

MESSAGE_PRIORITIES = (0, 3, 6, 9)
"""The priorities that Celery's Redis transport keeps apart; the lowest is taken first."""
HIGHEST = MESSAGE_PRIORITIES[-1]


def message_priority(priority: int) -> int:
    """Return what Celery is given for a message of this priority."""
    return HIGHEST - priority if _is_in_rabbitmq() else priority


def queue_keys(queue: str) -> tuple[str, ...]:
    """Return the keys of a queue's lists in Redis, the one that is taken first at the front."""
    return tuple(
        queue if priority == 0 else f"{queue}\x06\x16{priority}" for priority in MESSAGE_PRIORITIES
    )


def lengths(queues: Iterable[str]) -> dict[str, int]:
    """Return how many messages wait in each queue.

    Raises kombu's OperationalError, redis-py's RedisError or OSError if the server does not answer.
    """
    if _is_in_rabbitmq():
        return _lengths_in_rabbitmq(queues)
    with Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1) as redis:
        return {q: sum(int(redis.llen(key)) for key in queue_keys(q)) for q in queues}


def _is_in_rabbitmq() -> bool:
    return str(current_app.conf.broker_url).startswith("amqp")


def _lengths_in_rabbitmq(queues: Iterable[str]) -> dict[str, int]:
    found = {}
    with current_app.connection_for_read() as connection:
        connection.ensure_connection(max_retries=1, timeout=2)
        for queue in queues:
            try:  # a channel of its own: an error closes it
                channel: Any = connection.channel()
                declared = channel.queue_declare(queue, passive=True)
                found[queue] = int(declared.message_count)
            except connection.channel_errors:  # no worker has declared it yet
                found[queue] = 0
    return found
