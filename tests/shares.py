"""Which test files each process of `-n 4` runs.

Each process collects its own files only: pytest-xdist's other ways of distributing let every
process collect all of them, which costs 20 seconds of each. The files are shared out beforehand by
the seconds that tests/durations.json has for them, the longest first, each to the process with the
least to do.
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from tests.durations import ROOT, stored_budget

UNKNOWN_SECONDS = 0.1
"""What a file counts that was not measured: most such files have no test of `make test`."""


def share_of(process: int, processes: int, files: Iterable[Path]) -> frozenset[Path]:
    """Return the files that one of several processes runs; process: from 0."""
    measured: Mapping[str, float] = stored_budget()["files"]
    names = {str(path.relative_to(ROOT)): path for path in files}
    seconds = {name: measured.get(name, 0.0) + UNKNOWN_SECONDS for name in names}
    shares = shared_out(seconds, processes)
    return frozenset(names[name] for name in shares[process])


def shared_out(seconds: Mapping[str, float], processes: int) -> list[list[str]]:
    """Return the names for each process, so that each takes about as long."""
    shares: list[list[str]] = [[] for _ in range(processes)]
    load = [(0.0, number) for number in range(processes)]
    for name in sorted(seconds, key=lambda name: (-seconds[name], name)):
        taken, number = heapq.heappop(load)
        shares[number].append(name)
        heapq.heappush(load, (taken + seconds[name], number))
    return shares


def named_files(arguments: Iterable[str], root: Path) -> set[Path]:
    """Return the test files that the paths and test names of a command line stand for."""
    found = set[Path]()
    for argument in arguments:
        path = root / argument.partition("::")[0]
        found |= set(path.rglob("test_*.py")) if path.is_dir() else {path}
    return found


class ProgressPlugin:
    """Counts the tests of all processes, where pytest-xdist takes those of one for the whole."""

    def __init__(self) -> None:
        self._collected = 0
        self._session: pytest.Session | None = None

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Remember the session, whose number of tests the progress is a part of."""
        self._session = session

    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Add what a process has collected."""
        self._collected += len(ids)

    def pytest_runtest_logstart(self) -> None:
        """State the sum before a test is shown."""
        if self._session is not None and self._collected:
            self._session.testscollected = self._collected
