"""Limit the number of concurrent calls: in total, and to one host.

A host that hangs holds only its own slots, so calls to other brokers continue.

An overloaded host answers no request in time: it still processes requests whose callers have given
up and sent them again. So a host's share of its slots adapts. A slow call, while no other call to
the host was answered quickly, halves the share; a quick answer adds one slot. A slow account
changes nothing as long as other accounts of its host are quick.

Calls to a host have three groups (`CallGroup`), each with its own limit and queue. All calls of
accounts that did not answer their last call are in one group, so they do not delay accounts that
answer. Waiting groups take turns, and so do the accounts in each: no call waits forever.
"""

import asyncio
from bisect import insort
from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import IntEnum
from heapq import heappop, heappush
from itertools import count
from operator import attrgetter
from weakref import WeakKeyDictionary, WeakSet

from brokers.base import NotSent, Rejected
from common.reason_codes import Code

QUICK_SHARE = 1 / 3  # of a call's time-out: an answer within it is quick
MIN_SHARE = 1 / 100  # of a host's slots; each limiter has its own minimum besides
UNREACHABLE = frozenset({Code.NOT_CONNECTED, Code.BROKER_UNREACHABLE})
"""Codes of NotSent that mean that the host could not be reached. All others are our own decisions
(a deadline, a rate limit, the kill switch)."""


class CallPriority(IntEnum):
    """Which calls go first: cancels and level changes, or look-ups, which can wait."""

    FIRST = 0
    PATIENT = 1


class CallGroup(IntEnum):
    """The calls to one host that share a limit and a queue."""

    FIRST = 0
    PATIENT = 1
    UNANSWERED = 2  # every call of an account whose last call was not answered


GROUP_SHARES = {CallGroup.PATIENT: 1 / 2, CallGroup.UNANSWERED: 1 / 4}
"""Limit of a group, as a part of the host's slots; at least one slot."""
GROUP_INTERVALS = {CallGroup.FIRST: 2, CallGroup.PATIENT: 4, CallGroup.UNANSWERED: 4}
"""While all groups wait, a group gets every n-th slot that becomes free."""


def has_capacity(taken: Mapping[CallGroup, int], group: CallGroup, slots: int) -> bool:
    """Whether one more call of a group may begin at a host with so many slots. Pure.

    With three slots or more, the limits of the other groups leave at least one to FIRST."""
    if sum(taken.values()) >= slots:
        return False
    return group is CallGroup.FIRST or taken[group] < max(1, int(slots * GROUP_SHARES[group]))


class HostLoad:
    """How much load one host can handle, as a share of its slots. For one event loop."""

    def __init__(self) -> None:
        self.share = 1.0
        self.missed: set[Hashable] = set()  # accounts whose last call was not answered
        self.queues: WeakSet[_HostQueue] = WeakSet()
        self._quick_at, self._halved_at = float("-inf"), float("-inf")

    def record(
        self, began: float, now: float, time_out: float, *, answered: bool, max_slots: int
    ) -> None:
        """Record a call that has ended; times: the loop's. max_slots: the host's."""
        if answered and now - began <= time_out * QUICK_SHARE:
            self._quick_at = now
            self.share = min(1.0, self.share + 1 / max_slots)
        elif now - began > time_out * QUICK_SHARE and began > max(self._quick_at, self._halved_at):
            self._halved_at = now
            self.share = max(MIN_SHARE, self.share / 2)

    def record_account(self, account: Hashable, *, answered: bool) -> None:
        """Record whether an account's last call was answered; its waiting calls change group."""
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
    """Return the load of a host, shared by all limiters of the running loop."""
    known = _loads.setdefault(asyncio.get_running_loop(), {})
    if (load := known.get(host)) is None:
        load = known[host] = HostLoad()
    return load


@dataclass(frozen=True, slots=True, eq=False)
class _WaitingCall:
    """A call that waits. slot: set to the group that it is counted in, as soon as it has a slot."""

    account: Hashable
    priority: CallPriority
    slot: asyncio.Future[CallGroup]


class _GroupQueue:
    """The waiting calls of one group.

    The account that was served longest ago goes first, even if it cancelled calls meanwhile; of its
    calls FIRST goes before PATIENT, then the oldest."""

    def __init__(self) -> None:
        self._calls: dict[Hashable, list[_WaitingCall]] = {}
        self._numbers = count(1)
        self._last: dict[Hashable, int] = {}  # when each account was last served, as a number
        # A heap of (last served, number, account); outdated entries are skipped when popped.
        self._order: list[tuple[int, int, Hashable]] = []

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, call: _WaitingCall) -> None:
        if call.account not in self._calls:
            self._schedule(call.account)
        insort(self._calls.setdefault(call.account, []), call, key=attrgetter("priority"))

    def next(self) -> _WaitingCall:
        """Remove and return the next call."""
        account = self._next_account()
        self._last[account] = next(self._numbers)
        call, *others = self._calls.pop(account)
        if others:
            self._calls[account] = others
            self._schedule(account)
        return call

    def remove(self, call: _WaitingCall) -> None:
        if others := [other for other in self._calls.get(call.account, ()) if other is not call]:
            self._calls[call.account] = others
        else:
            self._calls.pop(call.account, None)

    def take(self, account: Hashable) -> list[_WaitingCall]:
        """Remove and return the calls of one account."""
        return self._calls.pop(account, [])

    def _schedule(self, account: Hashable) -> None:
        heappush(self._order, (self._last.get(account, 0), next(self._numbers), account))

    def _next_account(self) -> Hashable:
        while True:
            last, _, account = heappop(self._order)
            if account in self._calls and last == self._last.get(account, 0):
                return account


class _HostQueue:
    """The slots of one host, and the calls that wait for one."""

    def __init__(self, load: HostLoad, max_slots: int, min_per_host: int) -> None:
        self._load, self._max_slots, self._min_per_host = load, max_slots, min_per_host
        self._taken = dict.fromkeys(CallGroup, 0)
        self._queues = {group: _GroupQueue() for group in CallGroup}
        self._assigned = 0  # slots, since the beginning
        self._due = dict.fromkeys(CallGroup, 0)  # the value of `_assigned` for a group's next slot
        load.queues.add(self)

    async def acquire(self, account: Hashable, priority: CallPriority) -> CallGroup:
        """Wait for a slot; return the group in which it is counted."""
        call = _WaitingCall(account, priority, asyncio.get_running_loop().create_future())
        self._queues[self._group_of(call)].add(call)
        self._assign_free()
        try:
            return await call.slot
        except asyncio.CancelledError:
            if call.slot.done() and not call.slot.cancelled():  # assigned at the same moment
                self.release(call.slot.result())
            else:
                self._queues[self._group_of(call)].remove(call)
            raise

    def release(self, group: CallGroup) -> None:
        """Free a slot and assign free slots to waiting calls."""
        self._taken[group] -= 1
        self._assign_free()

    def regroup(self, account: Hashable) -> None:
        """Move the waiting calls of an account to the groups that they now belong to."""
        for call in [call for queue in self._queues.values() for call in queue.take(account)]:
            self._queues[self._group_of(call)].add(call)
        self._assign_free()

    def _group_of(self, call: _WaitingCall) -> CallGroup:
        return (
            CallGroup.UNANSWERED if call.account in self._load.missed else CallGroup(call.priority)
        )

    def _assign_free(self) -> None:
        while (group := self._next_group()) is not None:
            call = self._queues[group].next()
            if call.slot.done():  # cancelled just now
                continue
            self._taken[group] += 1
            self._assigned += 1
            self._due[group] = self._assigned + GROUP_INTERVALS[group]
            call.slot.set_result(group)

    def _next_group(self) -> CallGroup | None:
        """Return the group that is due first, of those that wait and are below their limit."""
        slots = max(self._min_per_host, round(self._max_slots * self._load.share))
        ready = [
            group
            for group, queue in self._queues.items()
            if queue and has_capacity(self._taken, group, slots)
        ]
        return min(ready, key=self._due.__getitem__, default=None)


class HostLimiter:
    """Slots for calls on one event loop; `async with limiter.slot(host)` waits for a free one."""

    def __init__(
        self,
        *,
        max_calls: int,
        max_per_host: int,
        min_per_host: int,
        seconds: Callable[[], float],
    ) -> None:
        """max_calls, max_per_host: limits of concurrent calls, of all hosts and of one.
        min_per_host: slots that even an overloaded host has. seconds: returns the time-out of a
        call that begins now."""
        self._all, self._per_host, self._seconds = (
            asyncio.Semaphore(max_calls),
            max_per_host,
            seconds,
        )
        self._min_per_host = min_per_host
        self._queues: dict[HostLoad, _HostQueue] = {}

    @asynccontextmanager
    async def slot(
        self, host: str, account: Hashable = None, priority: CallPriority = CallPriority.FIRST
    ) -> AsyncIterator[None]:
        """Hold a slot for a call to this host.

        The host's slot is acquired first: a call that waits for it takes none of the total."""
        load = load_of(host)
        if (queue := self._queues.get(load)) is None:
            queue = self._queues[load] = _HostQueue(load, self._per_host, self._min_per_host)
        group = await queue.acquire(account, priority)
        try:
            async with self._all:
                yield
        finally:
            queue.release(group)

    @asynccontextmanager
    async def timed(self, host: str, account: Hashable = None) -> AsyncIterator[None]:
        """Measure a call that has its slot, and record how it ended.

        A rejection is an answer. A host that could not be reached (`UNREACHABLE`) did not answer. A
        call that we decided not to send is not recorded."""
        clock, load = asyncio.get_running_loop().time, load_of(host)
        began, was_made, answered, seconds = clock(), True, False, self._seconds()
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
                load.record(began, clock(), seconds, answered=answered, max_slots=self._per_host)
                load.record_account(account, answered=answered)
