"""Celery's Redis transport, in which an unreadable message does not end the worker.

Kombu ends the worker on such an error, so a client with write access to Redis could stop every
worker. The rows are the jobs: dropping an unreadable message loses nothing.
"""

from typing import Any

import structlog
from kombu.transport import TRANSPORT_ALIASES, redis

log = structlog.get_logger(__name__)


class Channel(redis.Channel):
    """A channel that drops an unreadable message and continues."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # kombu's stubs lack it
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            log.warning("dropped an unreadable message", error=repr(error)[:200])
            return True


class Transport(redis.Transport):
    """The transport for `redis://` and `rediss://` URLs."""

    Channel = Channel


TRANSPORT_ALIASES["redis"] = TRANSPORT_ALIASES["rediss"] = f"{__name__}:Transport"
