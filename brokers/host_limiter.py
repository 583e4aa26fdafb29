"""How many calls may be under way at once: in all, and to one host.

A host that hangs holds its own share of the places and no more, so whoever asks many brokers at
once is never held up by one of them.

A host that gets more requests than it can process answers none of them in time: it still works
through those whose callers have given up, and they send them again. So its share follows what it
manages. A call that took long, while no other call to its host was answered quickly, halves the
share; a quick answer adds a place. Accounts that are slow by themselves change nothing as long as
others of their host are quick.

Calls to a host are of three groups (`CallGroup`), each with its own limit and its own queue. All
calls of accounts that did not answer their last call are one of them, so that they delay no account
that answers. Groups that wait take turns, and so do the accounts in each: none waits forever.
"""

import asyncio
from bisect import insort
from collections.abc import AsyncIterator, Hashable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import IntEnum
from heapq import heappop, heappush
from itertools import count
from operator import attrgetter
from weakref import WeakKeyDictionary, WeakSet

from brokers.base import NotSent, Rejected
from common.reason_codes import Code

QUICK_SHARE = 1 / 3  # of a call's time-out: an answer within it is a quick one
MIN_SHARE = 1 / 100  # of a host's places; each kind of call has its own least number besides
UNREACHABLE = frozenset({Code.NOT_CONNECTED, Code.BROKER_UNREACHABLE})
"""Of a call that was not sent: its host could not be reached. Every other code is a decision of
ours (a deadline, a rate, the kill switch) and says nothing about the host."""


class CallPriority(IntEnum):
    """Which calls go first: cancels and moved levels, or look-ups, which can wait."""

    FIRST = 0
    PATIENT = 1


class CallGroup(IntEnum):
    """The calls to one host that share a limit and a queue."""

    FIRST = 0
    PATIENT = 1
    UNANSWERED = 2  # every call of an account whose last call was not answered


GROUP_SHARES = {CallGroup.PATIENT: 1 / 2, CallGroup.UNANSWERED: 1 / 4}
"""Of a host's places, for all calls of a group; at least one."""
GROUP_INTERVALS = {CallGroup.FIRST: 2, CallGroup.PATIENT: 4, CallGroup.UNANSWERED: 4}
"""While all groups wait, each gets one of so many places that become free."""


def has_capacity(taken: Mapping[CallGroup, int], group: CallGroup, slots: int) -> bool:
    """Whether one more call of a group may begin at a host with so many places. Pure.

    From three places on, the limits of the others leave at least one to FIRST."""
    if sum(taken.values()) >= slots:
        return False
    return group is CallGroup.FIRST or taken[group] < max(1, int(slots * GROUP_SHARES[group]))


class HostLoad:
    """What one host manages, as a share of the places that it may have. For one event loop."""

    def __init__(self) -> None:
        self.share = 1.0
        self.missed: set[Hashable] = set()  # accounts whose last call was not answered
        self.queues: WeakSet[_HostQueue] = WeakSet()
        self._quick_at, self._halved_at = float("-inf"), float("-inf")

    def note(self, began: float, now: float, time_out: float, *, answered: bool, most: int) -> None:
        """Note a call that has ended; times: the loop's. most: the places it could have had."""
        if answered and now - began <= time_out * QUICK_SHARE:
            self._quick_at = now
            self.share = min(1.0, self.share + 1 / most)
        elif now - began > time_out * QUICK_SHARE and began > max(self._quick_at, self._halved_at):
            self._halved_at = now
            self.share = max(MIN_SHARE, self.share / 2)

    def note_account(self, account: Hashable, *, answered: bool) -> None:
        """Note whether an account's last call was answered; its calls that wait change group."""
        if account is None or answered is (account not in self.missed):
            return
        if answered:
            self.missed.discard(account)
        else:
            self.missed.add(account)
        for queue in tuple(self.queues):
            queue.regroup(account)


_loads: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, HostLoad]] = WeakKeyDictionary()


def load_of(host: str) -> HostLoad:
    """Return what is known of a host on the running loop, whoever calls it there."""
    known = _loads.setdefault(asyncio.get_running_loop(), {})
    return known.setdefault(host, HostLoad())


@dataclass(frozen=True, slots=True, eq=False)
class _WaitingCall:
    """A call that waits. turn: set to the group in which it is counted from then on."""

    account: Hashable
    rank: CallPriority
    turn: asyncio.Future[CallGroup]


class _GroupQueue:
    """The waiting calls of one group. The account whose last turn is longest ago goes first, also
    if it gave up meanwhile; of its calls FIRST goes before PATIENT, then the oldest."""

    def __init__(self) -> None:
        self._calls: dict[Hashable, list[_WaitingCall]] = {}
        self._numbers = count(1)
        self._last: dict[Hashable, int] = {}  # the number of an account's last turn
        # A heap of (last turn, number, account); those that are out of date are left out later.
        self._order: list[tuple[int, int, Hashable]] = []

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, call: _WaitingCall) -> None:
        if call.account not in self._calls:
            self._enter(call.account)
        insort(self._calls.setdefault(call.account, []), call, key=attrgetter("rank"))

    def next(self) -> _WaitingCall:
        """Remove and return the call whose turn it is."""
        account = self._next_account()
        self._last[account] = next(self._numbers)
        call, *others = self._calls.pop(account)
        if others:
            self._calls[account] = others
            self._enter(account)
        return call

    def remove(self, call: _WaitingCall) -> None:
        if others := [one for one in self._calls.get(call.account, ()) if one is not call]:
            self._calls[call.account] = others
        else:
            self._calls.pop(call.account, None)

    def take(self, account: Hashable) -> list[_WaitingCall]:
        """Remove and return the calls of one account."""
        return self._calls.pop(account, [])

    def _enter(self, account: Hashable) -> None:
        heappush(self._order, (self._last.get(account, 0), next(self._numbers), account))

    def _next_account(self) -> Hashable:
        while True:
            last, _, account = heappop(self._order)
            if account in self._calls and last == self._last.get(account, 0):
                return account


class _HostQueue:
    """The places of one host, and the calls that wait for one."""

    def __init__(self, load: HostLoad, most: int, least: int) -> None:
        self._load, self._most, self._least = load, most, least
        self._taken = dict.fromkeys(CallGroup, 0)
        self._lines = {group: _GroupQueue() for group in CallGroup}
        self._given = 0  # places, since the beginning
        self._due = dict.fromkeys(CallGroup, 0)  # what `_given` is when a group's next turn comes
        load.queues.add(self)

    async def take(self, account: Hashable, rank: CallPriority) -> CallGroup:
        """Wait for a place; return the group in which it is counted."""
        call = _WaitingCall(account, rank, asyncio.get_running_loop().create_future())
        self._lines[self._group_of(call)].add(call)
        self._give()
        try:
            return await call.turn
        except asyncio.CancelledError:
            if call.turn.done() and not call.turn.cancelled():  # it came at the same moment
                self.give_back(call.turn.result())
            else:
                self._lines[self._group_of(call)].remove(call)
            raise

    def give_back(self, group: CallGroup) -> None:
        """Free a place, and give what is free to those that wait."""
        self._taken[group] -= 1
        self._give()

    def regroup(self, account: Hashable) -> None:
        """Move the waiting calls of an account to the groups that they belong to now."""
        for call in [call for line in self._lines.values() for call in line.take(account)]:
            self._lines[self._group_of(call)].add(call)
        self._give()

    def _group_of(self, call: _WaitingCall) -> CallGroup:
        return CallGroup.UNANSWERED if call.account in self._load.missed else CallGroup(call.rank)

    def _give(self) -> None:
        while (group := self._next_group()) is not None:
            call = self._lines[group].next()
            if call.turn.done():  # given up at this moment
                continue
            self._taken[group] += 1
            self._given += 1
            self._due[group] = self._given + GROUP_INTERVALS[group]
            call.turn.set_result(group)

    def _next_group(self) -> CallGroup | None:
        """Return the group with the earliest turn of those that wait and have room."""
        slots = max(self._least, round(self._most * self._load.share))
        ready = [
            group
            for group, line in self._lines.items()
            if line and has_capacity(self._taken, group, slots)
        ]
        return min(ready, key=self._due.__getitem__, default=None)


class HostLimiter:
    """Places for calls on one event loop; `async with places.of(host)` waits for a free one."""

    def __init__(self, *, in_all: int, per_host: int, least: int, seconds: float) -> None:
        """least: places that a host has however little it manages. seconds: time-out of a call."""
        self._all, self._per_host, self._seconds = asyncio.Semaphore(in_all), per_host, seconds
        self._least = least
        self._queues: dict[HostLoad, _HostQueue] = {}

    @asynccontextmanager
    async def of(
        self, host: str, account: Hashable = None, rank: CallPriority = CallPriority.FIRST
    ) -> AsyncIterator[None]:
        """Hold a place for a call to this host. Its own are taken first: who waits for them holds
        none of the others'."""
        load = load_of(host)
        if (queue := self._queues.get(load)) is None:
            queue = self._queues[load] = _HostQueue(load, self._per_host, self._least)
        group = await queue.take(account, rank)
        try:
            async with self._all:
                yield
        finally:
            queue.give_back(group)

    @asynccontextmanager
    async def timed(self, host: str, account: Hashable = None) -> AsyncIterator[None]:
        """Time a call that has its place, and note how it ended. A rejection is an answer; a host
        that could not be reached (`UNREACHABLE`) is none; what we ourselves did not send says
        nothing about the host."""
        clock, load = asyncio.get_running_loop().time, load_of(host)
        began, was_made, answered = clock(), True, False
        try:
            yield
            answered = True
        except Rejected:
            answered = True
            raise
        except NotSent as error:
            was_made = error.code in UNREACHABLE
            raise
        finally:
            if was_made:
                load.note(began, clock(), self._seconds, answered=answered, most=self._per_host)
                load.note_account(account, answered=answered)
