"""Celery's queues: in Redis, or in RabbitMQ if FILLCAST_QUEUE_URL names one.

A priority is 0, 3, 6 or 9, and messages with the lowest value are taken first, as Celery's Redis
transport does. RabbitMQ takes those with the highest value first.
"""

from collections.abc import Iterable
from typing import Any

from amqp import NotFound
from celery import current_app
from django.conf import settings
from kombu.exceptions import OperationalError
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
    with current_app.connection_for_read() as connection:
        try:
            connection.ensure_connection(max_retries=1, timeout=2)
            return {queue: _length_in_rabbitmq(connection, queue) for queue in queues}
        except (*connection.connection_errors, *connection.channel_errors) as error:
            raise OperationalError(str(error)) from error  # a wrong password, a limit, no answer


def _length_in_rabbitmq(connection: Any, queue: str) -> int:
    try:  # a channel of its own: an error closes it
        return int(connection.channel().queue_declare(queue, passive=True).message_count)
    except NotFound:  # no worker has declared it yet
        return 0
