"""Places on the wire, and who gets them: exits before entries, slow accounts after quick ones.

Slow is who answered slowly lately, judged by what this process saw itself: a machine that is busy
makes everybody's answers late, so slow means slower than the others too. All slow calls together
take a share of the places; a call that turns out to be overdue gives its place back at once.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Collection, Sequence

SLOW_SECONDS = 1.5
TIMES_THE_USUAL = 3
REMEMBERED = 5  # calls of one account
ACCOUNTS = 20_000  # remembered at most, those heard of last
USUAL = 201  # calls of all accounts


def is_slow(lasted: Sequence[float], usual: float) -> bool:
    """Whether calls that lasted so many seconds are slow where the median of all is `usual`."""
    return bool(lasted) and median(lasted) > slow_after(usual)


def slow_after(usual: float) -> float:
    """Seconds after which a call is overdue where the median of all is `usual`."""
    return max(SLOW_SECONDS, TIMES_THE_USUAL * usual)


def median(values: Sequence[float]) -> float:
    """The middle one, the upper of two."""
    return sorted(values)[len(values) // 2]


class Pace:
    """How fast accounts answered lately. Written on the event loop, read from any thread."""

    def __init__(self) -> None:
        self._lasted: OrderedDict[str, deque[float]] = OrderedDict()
        self._all: deque[float] = deque(maxlen=USUAL)
        self._usual = 0.0
        self.slow: set[str] = set()

    def note(self, connection_id: str, seconds: float) -> None:
        """A call has ended, one way or another."""
        lasted = self._lasted.pop(connection_id, None)
        if lasted is None:
            lasted = deque(maxlen=REMEMBERED)
        self._lasted[connection_id] = lasted  # again the last
        lasted.append(seconds)
        self._all.append(seconds)
        if is_slow(lasted, self._usual):
            self.slow.add(connection_id)
        else:
            self.slow.discard(connection_id)
        if len(self._lasted) > ACCOUNTS:
            self.slow.discard(self._lasted.popitem(last=False)[0])

    def overdue_after(self) -> float:
        """Seconds after which a call is overdue, by the last calls of all accounts."""
        self._usual = median(self._all) if self._all else 0.0
        return slow_after(self._usual)


class Room:
    """The places of one wire, counted. Slow calls stand apart, at most as many as there are places:
    they give theirs back to the others."""

    def __init__(self, places: int) -> None:
        self.places = places
        self._taken = self._slow = 0
        self._changed = threading.Condition()

    @property
    def in_flight(self) -> int:
        """How many calls are under way or about to be."""
        return self._taken + self._slow

    @property
    def for_slow(self) -> int:
        """How many more entries of slow accounts may begin: together a quarter of the places."""
        return max(self.places // 4 - self._slow, 0)

    def reserve(self, wanted: int, *, urgent: bool = False) -> int:
        """Return how many orders may be claimed now, at least one; waits while there is no room.

        urgent: exits, for which an eighth of the places is kept free of entries.
        """
        with self._changed:
            # Entries wait for a bundle's worth of room; an exit goes as soon as there is any.
            enough = 1 if urgent else min(wanted, max(self.places // 4, 1))
            self._changed.wait_for(lambda: self._free(urgent) >= enough)
            granted = min(wanted, self._free(urgent))
            self._taken += granted
            return granted

    def free(self, places: int, *, slow: bool = False) -> None:
        """Give back places that were not used, or whose calls have ended."""
        with self._changed:
            if slow:
                self._slow -= places
            else:
                self._taken -= places
            self._changed.notify_all()  # a bundle and the worker's own look may both wait

    def step_aside(self) -> bool:
        """Let one slow call give its place to the others. False: too many have done so."""
        with self._changed:
            if self._slow >= self.places:
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
            return self.places
        return max(self.places - max(self.places // 8, 1), 1)

    def _free(self, urgent: bool) -> int:
        return self._most(urgent) - self._taken


def crowded_out(connection_ids: Collection[str], slow: Collection[str], room: int) -> set[str]:
    """Return the slow accounts of these that must wait, where `room` of them may begin. Pure."""
    waiting = [one for one in connection_ids if one in slow]
    return set(waiting[room:])
