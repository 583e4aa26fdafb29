"""Rate, errors and duration of tasks, brokers' calls, buses and rate limits, for `/metrics`.

Of background jobs only what went wrong. What a process does is added up in its memory.
`stored_figures` adds that every ten seconds to rows that all processes share, which any web process
can read; a process that is killed takes what it had not stored with it. Labels come from our own
lists (tasks, jobs, broker types, configured buses); should there be more of them nevertheless, they
share the series OTHER. Pure, but for its lock.
"""

import threading
from bisect import bisect_left
from enum import StrEnum
from typing import NamedTuple

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets of durations; longer ones have a bucket of their own."""
MOST_KEYS = 1_000  # in one process
OTHER = "other"
OK, FAILED = "ok", "failed"


class Kind(StrEnum):
    """What is measured."""

    TASK = "task"
    JOB = "job"
    BROKER = "broker"
    BUS = "bus"
    RATE_LIMIT = "rate_limit"


class Key(NamedTuple):
    """One series. operation: '' where there is only one."""

    kind: Kind
    name: str
    operation: str
    outcome: str


class Sum:
    """How many calls took how long. counts: those up to each of SECONDS, then the longer ones."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.seconds, self.counts = 0.0, [0] * (len(SECONDS) + 1)

    def add(self, other: "Sum") -> None:
        """Add another sum."""
        self.seconds += other.seconds
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]


class CallFigures:
    """The figures of one process that are not stored yet. From any thread."""

    def __init__(self) -> None:
        self._sums: dict[Key, Sum] = {}
        self._lock = threading.Lock()

    def count(self, kind: Kind, name: str, operation: str, outcome: str, seconds: float) -> None:
        key = Key(kind, name, operation, outcome)
        with self._lock:
            if (found := self._sums.get(key)) is None:
                if len(self._sums) >= MOST_KEYS:
                    key = Key(kind, OTHER, OTHER if operation else "", outcome)
                found = self._sums.setdefault(key, Sum())
            found.seconds += seconds
            found.counts[bisect_left(SECONDS, seconds)] += 1

    def take(self) -> dict[Key, Sum]:
        """Return what was counted since the last call."""
        with self._lock:
            sums, self._sums = self._sums, {}
        return sums

    def put_back(self, sums: dict[Key, Sum]) -> None:
        """Add what could not be stored."""
        with self._lock:
            for key, one in sums.items():
                self._sums.setdefault(key, Sum()).add(one)


FIGURES = CallFigures()
