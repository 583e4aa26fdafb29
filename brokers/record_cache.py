"""How many order records a process keeps in memory: 10,000, over all its adapters together.

A record is what an adapter remembers of one order so that it need not be asked for again. None is
the only truth of anything: what has left is read from the broker, or from a terminal's own file.
Orders that have ended leave first, those of the largest holder before others; only where nobody has
one left the oldest of the others go. What must stay (a call is working with it) its holder keeps.

Threads. Counting may be done anywhere, under a lock that is held for the counting alone. Eviction
is done by whoever has added a record, on his thread. Of all holders only one at a time evicts
(`_evicting` is only tried, never waited for: who has it looks again after he has let go of it); who
finds it taken makes what room is missing of his own records. A holder calls `ensure_capacity` with
no lock of its own in its hand; what it needs to drop it takes for a moment, or only tries. The lock
for the counting is the innermost: nothing is called under it. A holder whose records belong to one
event loop says which: it drops on that loop only, whoever evicts there, and is rung for from
elsewhere, once until it has answered. For the moment until it does a hundredth of the room is kept
free, so that even then the bound holds.
"""

import asyncio
import threading
from collections import deque
from typing import Protocol
from weakref import WeakSet, ref

MAX_RECORDS = 10_000


class CacheOwner(Protocol):
    """Whoever keeps records."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """Where they may be dropped; None: on any thread."""

    def drop(self, *, ended: bool) -> bool:
        """Drop the oldest that has ended, or (not `ended`) the oldest of all that may go, and count
        anew. False: there is none, or it cannot be said now."""


class CachePartition:
    """One holder's part of the room. It leaves with its holder, who alone keeps it."""

    def __init__(self, record_cache: "RecordCache", holder: CacheOwner) -> None:
        self.cache, self.held = record_cache, 0
        self._holder, self._is_scheduled = ref(holder), False

    def count(self, held: int) -> None:
        """Say how many records there are now; `RecordCache.evict` follows where some were added."""
        self.cache._count(self, held)

    def ensure_capacity(self) -> None:
        """See to it that all of them have room, others' and our own. Cheap where they have."""
        self.cache.evict()
        self.evict(ended=True)  # or somebody else is at it, and slower than records come
        self.evict(ended=False)

    def evict(self, *, ended: bool) -> None:
        """Drop our own until there is room: what has ended, or anything where none is left."""
        while self.held and self.cache.must_evict(ended=ended) and self.drop(ended=ended):
            pass

    def drop(self, *, ended: bool) -> bool:
        """Have a record dropped; False: none was, perhaps because its holder's loop must."""
        if (holder := self._holder()) is None:
            return False
        loop = holder.loop
        if loop is None or loop is running_loop() or loop.is_closed():
            return holder.drop(ended=ended)
        if not self._is_scheduled:
            self._is_scheduled = True
            try:
                loop.call_soon_threadsafe(_evict_on_loop, ref(self))
            except RuntimeError:  # it was closed just now
                self._is_scheduled = False
        return False

    def evict_scheduled(self) -> None:
        """We were rung for, and are on our loop."""
        self._is_scheduled = False  # first: who rings from now on is heard once more
        self.ensure_capacity()

    def __del__(self) -> None:
        if self.held:
            self.cache._left(self)


class RecordCache:
    """All records of a process."""

    def __init__(self, most: int = MAX_RECORDS) -> None:
        self.most, self._spare = most, most // 100
        self._lock, self._evicting = threading.Lock(), threading.Lock()
        self._shares: WeakSet[CachePartition] = WeakSet()
        self._held = 0
        self._gone: deque[int] = deque()  # what shares that are no more held: no lock in `__del__`

    def share(self, holder: CacheOwner) -> CachePartition:
        """Return a new holder's share, for the holder to keep."""
        return CachePartition(self, holder)

    def __len__(self) -> int:
        if self._gone:
            with self._lock:
                self._forget_gone()
        return self._held

    def must_evict(self, *, ended: bool) -> bool:
        """Whether records must leave: ended ones already for what is kept free, others late."""
        return len(self) > (self.most - self._spare if ended else self.most)

    def evict(self) -> None:
        """Evict until all have room, or nothing may leave."""
        while self.must_evict(ended=True) and self._evicting.acquire(blocking=False):
            try:
                went = self._evict_once()
            finally:
                self._evicting.release()
            if not went:
                break

    def _evict_once(self) -> bool:
        """Whether anything has left."""
        with self._lock:
            shares = sorted(self._shares, key=lambda one: one.held, reverse=True)
        before = len(self)
        for ended in (True, False):
            for one in shares:
                one.evict(ended=ended)
        return len(self) < before

    def _count(self, share: CachePartition, held: int) -> None:
        with self._lock:
            self._forget_gone()
            self._held += held - share.held
            share.held = held
            self._shares.add(share)

    def _left(self, share: CachePartition) -> None:
        self._gone.append(share.held)  # wherever the garbage collector runs, perhaps in `_count`

    def _forget_gone(self) -> None:
        while self._gone:
            self._held -= self._gone.popleft()


def _evict_on_loop(share: "ref[CachePartition]") -> None:
    if (one := share()) is not None:
        one.evict_scheduled()


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs on this thread, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


RECORD_CACHE = RecordCache()
