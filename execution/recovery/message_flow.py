"""Whether Celery's messages will start the due entries, so that polling for them would only double
the work.

In a burst most due orders wait for their message's turn. A poll that claims them too competes for
their accounts' locks with the worker that has just taken the message.
"""

from collections.abc import Callable
from dataclasses import dataclass

import structlog
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from common.clocks import machine_time
from common.process import message_queues

log = structlog.get_logger(__name__)
FLOW_SECONDS = 3.0  # after its length has fallen a queue counts as served for so long
LOST_SECONDS = 10.0  # between two polls for lost messages while others flow
DOWN_SECONDS = 5.0  # after an error the server is not asked for so long


@dataclass(slots=True)
class MessageFlow:
    """Watches the length of a queue. Not safe for several threads: one background job asks it.

    A queue that only grows, or that does not change, counts as not served: nothing may wait for
    workers that do not exist. Messages are taken in order and due orders are polled in order, so
    those whose message was lost are the first that a poll finds.
    """

    length_of: Callable[[], int]
    _length: int = 0
    _fell_at: float = float("-inf")
    _polled_at: float = float("-inf")
    _ask_at: float = float("-inf")

    def must_wait(self) -> bool:
        """Return whether due entries are left to their messages now."""
        now = machine_time()
        if now < self._ask_at or not self._is_served(now):
            return False
        if now - self._polled_at < LOST_SECONDS:
            return True
        self._polled_at = now
        return False

    def _is_served(self, now: float) -> bool:
        try:
            length = self.length_of()
        except (RedisError, OperationalError, OSError) as error:
            log.debug("the queue's length is not known", error=str(error))
            self._ask_at = now + DOWN_SECONDS
            return False
        if length < self._length:
            self._fell_at = now
        self._length = length
        return length > 0 and now - self._fell_at < FLOW_SECONDS


def flow_of(queue: str) -> MessageFlow:
    """Return a watch of this queue."""
    return MessageFlow(lambda: message_queues.lengths([queue])[queue])
