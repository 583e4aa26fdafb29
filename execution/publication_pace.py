"""A new trade waits a moment before it is published while due orders wait for the machine.

What is published has to be decided and sent by the same machine. On one that does not keep up each
further trade would make those before it too old. So publishing slows down first, and nothing that
changes or closes a trade ever waits. Alerts wait in their inbox in the same way.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.db import connection

from common.clocks import machine_time
from common.db.errors import TryLaterError
from common.db.row_changes import is_answering_a_request
from execution.runtime.open_work import is_behind

MOST_SECONDS = 10.0
STEP_SECONDS = 0.25
_places = threading.BoundedSemaphore(2)  # the other threads of a web process stay free for exits
_has_waited: ContextVar[bool] = ContextVar("has_waited_for_due_orders", default=False)


def await_due_orders() -> None:
    """Return once no order waits for the machine, after MOST_SECONDS at the latest.

    Within a transaction others would wait for its locks: that of a request is rolled back by
    TryLaterError, and the request waits and is answered again; any other goes on at once.
    """
    if _has_waited.get():
        return
    if not connection.in_atomic_block:
        wait_for_machine()
    elif is_answering_a_request() and is_behind():
        raise TryLaterError("due orders wait for the machine")


def wait_for_machine() -> None:
    """Wait as `await_due_orders` does, if one of the places for it is free."""
    if not _places.acquire(blocking=False):
        return
    try:
        until = machine_time() + MOST_SECONDS
        while machine_time() < until and is_behind():
            time.sleep(STEP_SECONDS)
    finally:
        _places.release()


@contextmanager
def without_waiting() -> Iterator[None]:
    """Publish at once inside this block: it was waited before."""
    token = _has_waited.set(True)
    try:
        yield
    finally:
        _has_waited.reset(token)
