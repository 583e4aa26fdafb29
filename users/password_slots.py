"""Passwords are hashed a few at a time: each keeps a processor busy for a third of a second.

Without it a rush of sign-ins takes the machine from those who trade on it, and each sign-in lasts
as long as all of them together. Whoever finds the queue full, or waits too long, is told so.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

AT_ONCE, WAITING, LONGEST_WAIT_SECONDS = 2, 100, 45.0
RETRY_SECONDS = 10


class SlotsBusyError(Exception):
    """So many people sign in at this moment that this one is asked to try again."""

    retry_after = RETRY_SECONDS


class PasswordHashSlots:
    """A bounded number of turns and a bounded queue for them. One thread may nest its own."""

    def __init__(
        self, at_once: int = AT_ONCE, waiting: int = WAITING, seconds: float = LONGEST_WAIT_SECONDS
    ) -> None:
        self._free = threading.Semaphore(at_once)
        self._queue = threading.BoundedSemaphore(at_once + waiting)
        self._seconds = seconds
        self._mine = threading.local()

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait for a turn and have it inside this block. Raises BusyError.

        Inside a transaction nobody waits: the database ends transactions that idle. That is for
        the few hashes that people make who are signed in already.
        """
        if getattr(self._mine, "has", False) or connection.in_atomic_block:
            yield
            return
        connection.close()  # back to the pool: whoever waits or hashes needs none
        if not self._queue.acquire(blocking=False):
            raise SlotsBusyError
        try:
            if not self._free.acquire(timeout=self._seconds):
                raise SlotsBusyError
            self._mine.has = True
            try:
                yield
            finally:
                self._mine.has = False
                self._free.release()
        finally:
            self._queue.release()


slots = PasswordHashSlots()
