"""How many calls may be under way at once: in all, and to one host.

A host that hangs holds its own share of the places and no more, so whoever asks many brokers at
once is never held up by one of them.

A host that gets more requests than it can process answers none of them in time: it still works
through those whose callers have given up, and they send them again. So its share follows what it
manages. A call that took long, while no other call to its host was answered quickly, halves the
share; a quick answer adds a place. Accounts that are slow by themselves change nothing as long as
others of their host are quick. What can wait has a part of the places only (`Rank`), so that it
holds up nothing else; so have accounts whose last call was not answered.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from enum import IntEnum
from weakref import WeakKeyDictionary

from brokers.base import NotSent, Rejected

QUICK_SHARE = 1 / 3  # of a call's time-out: an answer within it is a quick one
LEAST_SHARE = 1 / 100  # of a host's places; each kind of call has its own least number besides


class Rank(IntEnum):
    """Which calls go first; MISSED: of accounts whose last call was not answered. A cancel or a
    stop of such an account still goes before every look-up."""

    FIRST = 0
    FIRST_MISSED = 1
    PATIENT = 2
    PATIENT_MISSED = 3


PARTS = {
    Rank.FIRST: 1.0,
    Rank.FIRST_MISSED: 1 / 2,
    Rank.PATIENT: 1 / 2,
    Rank.PATIENT_MISSED: 1 / 4,
}
"""Of a host's places, for calls of this rank and those behind it."""
MISSED = {Rank.FIRST: Rank.FIRST_MISSED, Rank.PATIENT: Rank.PATIENT_MISSED}


class HostLoad:
    """What one host manages, as a share of the places that it may have. For one event loop."""

    def __init__(self) -> None:
        self.share = 1.0
        self.missed: set[Hashable] = set()  # accounts whose last call was not answered
        self._quick_at, self._halved_at = float("-inf"), float("-inf")

    def note(self, began: float, now: float, time_out: float, *, answered: bool, most: int) -> None:
        """Note a call that has ended; times: the loop's. most: the places it could have had."""
        if answered and now - began <= time_out * QUICK_SHARE:
            self._quick_at = now
            self.share = min(1.0, self.share + 1 / most)
        elif now - began > time_out * QUICK_SHARE and began > max(self._quick_at, self._halved_at):
            self._halved_at = now
            self.share = max(LEAST_SHARE, self.share / 2)


_loads: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, HostLoad]] = WeakKeyDictionary()


def load_of(host: str) -> HostLoad:
    """Return what is known of a host on the running loop, whoever calls it there."""
    known = _loads.setdefault(asyncio.get_running_loop(), {})
    return known.setdefault(host, HostLoad())


class _Queue:
    """The places of one host, and the calls that wait for one."""

    def __init__(self, most: int, least: int) -> None:
        self._most, self._least = most, least
        self._taken = dict.fromkeys(Rank, 0)
        self._waiting: dict[Rank, deque[asyncio.Future[None]]] = {rank: deque() for rank in Rank}

    async def take(self, load: HostLoad, rank: Rank) -> None:
        """Wait for a place."""
        if self._is_free(load, rank) and not self._waiting[rank]:
            self._taken[rank] += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[rank].append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it came at the same moment
                self.give_back(load, rank)
            raise

    def give_back(self, load: HostLoad, rank: Rank) -> None:
        """Free a place; of each rank whoever waits longest gets it, as long as there are any."""
        self._taken[rank] -= 1
        for of, waiting in self._waiting.items():
            while waiting and self._is_free(load, of):
                turn = waiting.popleft()
                if not turn.done():
                    self._taken[of] += 1
                    turn.set_result(None)

    def _is_free(self, load: HostLoad, rank: Rank) -> bool:
        places = max(self._least, round(self._most * load.share))
        return all(
            sum(n for other, n in self._taken.items() if other >= of) < max(1, places * PARTS[of])
            for of in Rank
            if of <= rank
        )


class Places:
    """Places for calls on one event loop; `async with places.of(host)` waits for a free one."""

    def __init__(self, *, in_all: int, per_host: int, least: int, seconds: float) -> None:
        """least: places that a host has however little it manages. seconds: time-out of a call."""
        self._all, self._per_host, self._seconds = asyncio.Semaphore(in_all), per_host, seconds
        self._hosts: dict[str, _Queue] = defaultdict(lambda: _Queue(per_host, least))

    @asynccontextmanager
    async def of(
        self, host: str, account: Hashable = None, rank: Rank = Rank.FIRST
    ) -> AsyncIterator[None]:
        """Hold a place for a call to this host. Its own are taken first: who waits for them holds
        none of the others'."""
        load, queue = load_of(host), self._hosts[host]
        rank = MISSED.get(rank, rank) if account in load.missed else rank
        await queue.take(load, rank)
        try:
            async with self._all:
                yield
        finally:
            queue.give_back(load, rank)

    @asynccontextmanager
    async def timed(self, host: str, account: Hashable = None) -> AsyncIterator[None]:
        """Time a call that has its place, and note how it ended: a refusal is an answer, too, and
        what was not sent says nothing of the host."""
        clock, load = asyncio.get_running_loop().time, load_of(host)
        began, was_made, answered = clock(), True, False
        try:
            yield
            answered = True
        except Rejected:
            answered = True
            raise
        except NotSent:
            was_made = False
            raise
        finally:
            if was_made:
                load.note(began, clock(), self._seconds, answered=answered, most=self._per_host)
                if answered:
                    load.missed.discard(account)
                elif account is not None:
                    load.missed.add(account)
