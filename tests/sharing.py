"""A run of tests in several processes (`-n 2`): who gets which, and what has nothing beside it."""

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling


class FilesInOrder(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives each process its share of the files at once, each in the order of a whole run.

    The shares are the same in every run: what a test finds of those before it (caches of modules,
    rows of migrations) goes by no machine's pace, and so does whether it passes.
    """

    def schedule(self) -> None:
        """Hand out what is to be run."""
        if self.collection is None:
            every = next(iter(self.registered_collections.values()))
            self._share_of = shares(every, len(self.nodes))
        super().schedule()

    def _split_scope(self, nodeid: str) -> str:
        return self._share_of[nodeid]


def shares(tests: Sequence[str], processes: int) -> dict[str, str]:
    """Return of which process's share each test is: the next file goes to who has fewest tests.

    pytest-django puts first what is rolled back, then what empties the database, with it what
    migrations wrote, and last what needs none. So a file may be in up to three pieces.
    """
    counts, share_of = [0] * processes, dict[str, str]()
    for _, piece in groupby(tests, lambda test: test.partition("::")[0]):
        some = list(piece)
        fewest = counts.index(min(counts))
        counts[fewest] += len(some)
        share_of |= dict.fromkeys(some, f"{fewest}")
    return share_of


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
