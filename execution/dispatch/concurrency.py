"""Dispatcher slots, and who gets them: exits before entries, slow accounts after quick ones.

Slow is who answered slowly lately, judged by what this process saw itself: a machine that is busy
makes everybody's answers late, so slow means slower than the others too. All slow calls together
take a share of the places; a call that turns out to be overdue gives its place back at once.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Collection, Sequence

SLOW_SECONDS = 1.5
SLOW_FACTOR = 3
CALLS_PER_ACCOUNT = 5  # calls of one account
MAX_ACCOUNTS = 20_000  # remembered at most, those heard of last
CALLS_OF_ALL_ACCOUNTS = 201  # calls of all accounts


def is_slow(durations: Sequence[float], median_seconds: float) -> bool:
    """Whether calls that lasted so many seconds are slow where the median of all is
    `median_seconds`."""
    return bool(durations) and median(durations) > slow_after(median_seconds)


def slow_after(median_seconds: float) -> float:
    """Seconds after which a call is overdue where the median of all is `median_seconds`."""
    return max(SLOW_SECONDS, SLOW_FACTOR * median_seconds)


def median(values: Sequence[float]) -> float:
    """The middle one, the upper of two."""
    return sorted(values)[len(values) // 2]


class LatencyTracker:
    """How fast accounts answered lately. Written on the event loop, read from any thread."""

    def __init__(self) -> None:
        self._durations: OrderedDict[str, deque[float]] = OrderedDict()
        self._all: deque[float] = deque(maxlen=CALLS_OF_ALL_ACCOUNTS)
        self._median = 0.0
        self.slow: set[str] = set()

    def record(self, connection_id: str, seconds: float) -> None:
        """A call has ended, one way or another."""
        durations = self._durations.pop(connection_id, None)
        if durations is None:
            durations = deque(maxlen=CALLS_PER_ACCOUNT)
        self._durations[connection_id] = durations  # again the last
        durations.append(seconds)
        self._all.append(seconds)
        if is_slow(durations, self._median):
            self.slow.add(connection_id)
        else:
            self.slow.discard(connection_id)
        if len(self._durations) > MAX_ACCOUNTS:
            self.slow.discard(self._durations.popitem(last=False)[0])

    def overdue_after(self) -> float:
        """Seconds after which a call is overdue, by the last calls of all accounts."""
        self._median = median(self._all) if self._all else 0.0
        return slow_after(self._median)


class SlotPool:
    """The places of one wire, counted. Slow calls stand apart, at most as many as there are places:
    they give theirs back to the others."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._taken = self._slow = 0
        self._changed = threading.Condition()

    @property
    def in_flight(self) -> int:
        """How many calls are under way or about to be."""
        return self._taken + self._slow

    @property
    def free_for_slow(self) -> int:
        """How many more entries of slow accounts may begin: together a quarter of the places."""
        return max(self.size // 4 - self._slow, 0)

    def reserve(self, requested: int, *, urgent: bool = False) -> int:
        """Return how many orders may be claimed now, at least one; waits while there is no room.

        urgent: exits, for which an eighth of the places is kept free of entries.
        """
        with self._changed:
            # Entries wait for a bundle's worth of room; an exit goes as soon as there is any.
            enough = 1 if urgent else min(requested, max(self.size // 4, 1))
            self._changed.wait_for(lambda: self._free(urgent) >= enough)
            granted = min(requested, self._free(urgent))
            self._taken += granted
            return granted

    def free(self, slots: int, *, slow: bool = False) -> None:
        """Give back places that were not used, or whose calls have ended."""
        with self._changed:
            if slow:
                self._slow -= slots
            else:
                self._taken -= slots
            self._changed.notify_all()  # a bundle and the worker's own look may both wait

    def yield_slot(self) -> bool:
        """Let one slow call give its place to the others. False: too many have done so."""
        with self._changed:
            if self._slow >= self.size:
                return False
            self._taken -= 1
            self._slow += 1
            self._changed.notify_all()
            return True

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no call is under way; False when the time is over first."""
        with self._changed:
            return self._changed.wait_for(lambda: self.in_flight == 0, timeout)

    def _most(self, urgent: bool) -> int:
        if urgent:
            return self.size
        return max(self.size - max(self.size // 8, 1), 1)

    def _free(self, urgent: bool) -> int:
        return self._most(urgent) - self._taken


def throttled_connections(
    connection_ids: Collection[str], slow: Collection[str], allowed: int
) -> set[str]:
    """Return the slow accounts of these that must wait, where `allowed` of them may begin. Pure."""
    waiting = [one for one in connection_ids if one in slow]
    return set(waiting[allowed:])
