"""Dispatcher slots: exits come before entries, slow accounts after fast ones.

An account is slow if its recent answers to this process were slow, also compared with those of the
others: on a busy machine all answers are late. All slow calls together get a share of the slots; a
call that is overdue gives its slot back at once.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Collection, Sequence

SLOW_SECONDS = 1.5
SLOW_FACTOR = 3
CALLS_PER_ACCOUNT = 5  # latest calls remembered of one account
CALLS_OF_ALL_ACCOUNTS = 201  # and of all accounts together
MAX_ACCOUNTS = 20_000  # accounts remembered, those with the latest calls


def is_slow(durations: Sequence[float], median_seconds: float) -> bool:
    """Return whether an account with these call durations is slow; `median_seconds`: of all."""
    return bool(durations) and median(durations) > slow_after(median_seconds)


def slow_after(median_seconds: float) -> float:
    """Return the seconds after which a call is overdue, given the median of all calls."""
    return max(SLOW_SECONDS, SLOW_FACTOR * median_seconds)


def median(values: Sequence[float]) -> float:
    """Return the middle value, the upper of two."""
    return sorted(values)[len(values) // 2]


class LatencyTracker:
    """The recent latency of accounts. Written on the event loop, read from any thread."""

    def __init__(self) -> None:
        self._durations: OrderedDict[str, deque[float]] = OrderedDict()
        self._all: deque[float] = deque(maxlen=CALLS_OF_ALL_ACCOUNTS)
        self._median = 0.0
        self.slow: set[str] = set()

    def record(self, connection_id: str, seconds: float) -> None:
        """Record the duration of a call that has ended, with or without an answer."""
        durations = self._durations.pop(connection_id, None)
        if durations is None:
            durations = deque(maxlen=CALLS_PER_ACCOUNT)
        self._durations[connection_id] = durations  # moves it to the end
        durations.append(seconds)
        self._all.append(seconds)
        if is_slow(durations, self._median):
            self.slow.add(connection_id)
        else:
            self.slow.discard(connection_id)
        if len(self._durations) > MAX_ACCOUNTS:
            self.slow.discard(self._durations.popitem(last=False)[0])

    def overdue_after(self) -> float:
        """Return the seconds after which a call is overdue, by the latest calls of all accounts."""
        self._median = median(self._all) if self._all else 0.0
        return slow_after(self._median)


class SlotPool:
    """The slots of one dispatcher, counted.

    A slow call gives its slot back and is counted apart; there are at most as many slow calls as
    slots.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._taken = self._slow = 0
        self._changed = threading.Condition()

    @property
    def in_flight(self) -> int:
        """How many slots are reserved, and slow calls in flight."""
        return self._taken + self._slow

    @property
    def free_for_slow(self) -> int:
        """How many more entries of slow accounts may start: together a quarter of the slots."""
        return max(self.size // 4 - self._slow, 0)

    def resize(self, size: int) -> None:
        """Allow so many slots from now on; calls in flight beyond them end as they would."""
        if size == self.size:
            return
        with self._changed:
            self.size = size
            self._changed.notify_all()

    def reserve(self, requested: int, *, urgent: bool = False) -> int:
        """Reserve up to `requested` slots, at least one; wait while too few are free.

        urgent: exits, for which an eighth of the slots is kept free of entries.
        """
        with self._changed:
            # Entries wait until a bundle fits; exits start as soon as one slot is free.
            enough = 1 if urgent else min(requested, max(self.size // 4, 1))
            self._changed.wait_for(lambda: self._free(urgent) >= enough)
            granted = min(requested, self._free(urgent))
            self._taken += granted
            return granted

    def free(self, slots: int, *, slow: bool = False) -> None:
        """Give back slots that were not used, or whose calls have ended."""
        with self._changed:
            if slow:
                self._slow -= slots
            else:
                self._taken -= slots
            self._changed.notify_all()  # a task and a background job may both wait

    def yield_slot(self) -> bool:
        """Give back the slot of one slow call. False: there are too many slow calls already."""
        with self._changed:
            if self._slow >= self.size:
                return False
            self._taken -= 1
            self._slow += 1
            self._changed.notify_all()
            return True

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no slot is used; return False after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self.in_flight == 0, timeout)

    def _limit(self, urgent: bool) -> int:
        if urgent:
            return self.size
        return max(self.size - max(self.size // 8, 1), 1)

    def _free(self, urgent: bool) -> int:
        return self._limit(urgent) - self._taken


def throttled_connections(
    connection_ids: Collection[str], slow: Collection[str], allowed: int
) -> set[str]:
    """Return which of these accounts must wait: the slow ones beyond the first `allowed`. Pure."""
    slow_ones = [connection_id for connection_id in connection_ids if connection_id in slow]
    return set(slow_ones[allowed:])
