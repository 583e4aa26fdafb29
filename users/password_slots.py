"""A limit on concurrent password hashing: each hash keeps a processor busy for 0.3 seconds.

Without it, many sign-ins at once would slow down trading on the same machine, and each sign-in
would take as long as all of them together. If the queue is full, or the wait too long, the sign-in
is refused with a time to try again.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

SLOTS, QUEUE_SIZE, MAX_WAIT_SECONDS = 2, 100, 45.0
RETRY_SECONDS = 10


class SlotsBusyError(Exception):
    """Too many users sign in at this moment. retry_after: seconds to wait before another try."""

    retry_after = RETRY_SECONDS


class PasswordHashSlots:
    """A bounded number of slots with a bounded queue. A thread may nest its own slot."""

    def __init__(
        self, slots: int = SLOTS, queue_size: int = QUEUE_SIZE, seconds: float = MAX_WAIT_SECONDS
    ) -> None:
        self._free = threading.Semaphore(slots)
        self._queue = threading.BoundedSemaphore(slots + queue_size)
        self._seconds = seconds
        self._thread = threading.local()

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait for a slot and hold it inside this block. Raises SlotsBusyError.

        Inside a transaction there is no wait, since the database ends transactions that idle. Only
        the few hashes of users who are already signed in are made there.
        """
        if getattr(self._thread, "has_slot", False) or connection.in_atomic_block:
            yield
            return
        connection.close()  # back to the pool: waiting and hashing need none
        if not self._queue.acquire(blocking=False):
            raise SlotsBusyError
        try:
            if not self._free.acquire(timeout=self._seconds):
                raise SlotsBusyError
            self._thread.has_slot = True
            try:
                yield
            finally:
                self._thread.has_slot = False
                self._free.release()
        finally:
            self._queue.release()


slots = PasswordHashSlots()
