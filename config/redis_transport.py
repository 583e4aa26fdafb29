"""Redis as Celery's queue, in which what is no message at all ends nobody's worker.

Kombu lets the error of reading it end the worker; whoever can write to Redis could keep all of
them from working. Rows are the jobs: nothing is lost by dropping what cannot be read.
"""

from typing import Any

import structlog
from kombu.transport import TRANSPORT_ALIASES, redis

log = structlog.get_logger(__name__)


class Channel(redis.Channel):
    """A channel that goes on after garbage."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # kombu's stubs lack it
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            log.warning("what is no message was dropped", error=repr(error)[:200])
            return True


class Transport(redis.Transport):
    """What `redis://` and `rediss://` stand for in this program."""

    Channel = Channel


TRANSPORT_ALIASES["redis"] = TRANSPORT_ALIASES["rediss"] = f"{__name__}:Transport"
