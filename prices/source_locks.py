"""A lock for each price source."""

import threading


class SourceLocks:
    """Lets one thread at a time work on the prices of a source, and others on those of others.

    A statement on one source's prices may wait for a lock in the database. With one lock for all,
    the stops of every other source's accounts would wait with it.
    """

    def __init__(self) -> None:
        self._locks: dict[int, threading.Lock] = {}

    def of(self, source_id: int) -> threading.Lock:
        """Return the source's lock, the same one for each call."""
        return self._locks.setdefault(source_id, threading.Lock())
