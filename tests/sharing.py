"""A run of tests in several processes (`-n 2`): who gets which, and what has nothing beside it."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling


class FilesInOrder(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Hands out a file at a time, so that each process has its tests in the order of a whole run.

    pytest-django puts first what is rolled back, then what empties the database, with it what
    migrations wrote, and last what needs none. So a file may be handed out in up to three pieces.
    """

    def schedule(self) -> None:
        """Hand out what is next."""
        if self.collection is None:
            every = next(iter(self.registered_collections.values()))
            pieces = enumerate(groupby(every, lambda test: test.partition("::")[0]))
            self._piece_of = {test: f"{n}" for n, (_, tests) in pieces for test in tests}
        super().schedule()

    def _split_scope(self, nodeid: str) -> str:
        return self._piece_of[nodeid]


class Turns:
    """Tests that are `alone` run when no other does; all others run beside each other.

    By locks in a folder that the processes share: the kernel lets go what a dead one held.
    """

    def __init__(self, folder: Path) -> None:
        """Say where; every process has an object of its own."""
        self._gate = (folder / "gate").open("ab")
        self._room = (folder / "room").open("ab")

    @contextmanager
    def taken(self, *, alone: bool) -> Iterator[None]:
        """Wait until the test may run, and keep the others out, or only those that are alone."""
        fcntl.flock(self._gate, fcntl.LOCK_EX)  # nobody overtakes who waits to be alone
        try:
            fcntl.flock(self._room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        finally:
            fcntl.flock(self._gate, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(self._room, fcntl.LOCK_UN)
