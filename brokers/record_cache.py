"""An LRU bound on the order records of a process: 10,000 in memory, over all its adapters.

A record is what an adapter keeps of one order to avoid another query. No record is the only source
of a fact: what was sent can be read from the broker or from a terminal's own file.

Eviction drops ended orders first, those of the largest owner before others. If no owner has an
ended one left, the oldest other records go. An owner keeps records that a running call needs.

Threads:
- Counting may happen on any thread; its lock is the innermost, and nothing is called under it.
- The thread that adds a record evicts. Only one thread at a time evicts from all owners
  (`_evicting` is only tried, never waited for, and checked again after its release). A thread that
  finds it taken evicts from its own records only.
- Call `ensure_capacity` without holding a lock of the owner. `drop` takes the lock that it needs
  briefly, or only tries to.
- An owner whose records belong to one event loop states that loop. Its records are dropped on that
  loop only; other threads schedule the eviction there, once until it has run. A hundredth of the
  capacity stays free for that moment, so the bound always holds.
"""

import asyncio
import threading
from collections import deque
from typing import Protocol
from weakref import WeakSet, ref

MAX_RECORDS = 10_000


class CacheOwner(Protocol):
    """An object that keeps order records."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop on which records may be dropped; None: any thread."""

    def drop(self, *, ended: bool) -> bool:
        """Drop the oldest ended record, or (not `ended`) the oldest of all that may go, and update
        the count. Return False if there is none, or if a lock is busy."""


class CachePartition:
    """The records of one owner. Only the owner refers to it, so both end together."""

    def __init__(self, record_cache: "RecordCache", owner: CacheOwner) -> None:
        self.cache, self.size = record_cache, 0
        self._owner, self._is_scheduled = ref(owner), False

    def update_size(self, size: int) -> None:
        """Set the number of records. Call `ensure_capacity` afterwards if some were added."""
        self.cache._update_size(self, size)

    def ensure_capacity(self) -> None:
        """Evict until the cache is within its bound. Cheap if it already is."""
        self.cache.evict()
        self.evict(ended=True)  # another thread may be evicting, slower than records are added
        self.evict(ended=False)

    def evict(self, *, ended: bool) -> None:
        """Drop this owner's records until the bound holds. ended: drop only ended orders."""
        while self.size and self.cache.must_evict(ended=ended) and self.drop(ended=ended):
            pass

    def drop(self, *, ended: bool) -> bool:
        """Drop one record. Return False if none was, perhaps because it is scheduled on a loop."""
        if (owner := self._owner()) is None:
            return False
        loop = owner.loop
        if loop is None or loop is running_loop() or loop.is_closed():
            return owner.drop(ended=ended)
        if not self._is_scheduled:
            self._is_scheduled = True
            try:
                loop.call_soon_threadsafe(_evict_on_loop, ref(self))
            except RuntimeError:  # it was closed just now
                self._is_scheduled = False
        return False

    def evict_scheduled(self) -> None:
        """Run a scheduled eviction, on the owner's loop."""
        self._is_scheduled = False  # first, so that later requests are scheduled again
        self.ensure_capacity()

    def __del__(self) -> None:
        if self.size:
            self.cache._on_partition_deleted(self)


class RecordCache:
    """The bound over all records of a process."""

    def __init__(self, most: int = MAX_RECORDS) -> None:
        self.most, self._spare = most, most // 100
        self._lock, self._evicting = threading.Lock(), threading.Lock()
        self._partitions: WeakSet[CachePartition] = WeakSet()
        self._size = 0
        self._deleted_sizes: deque[int] = deque()  # of deleted partitions: `__del__` takes no lock

    def partition(self, owner: CacheOwner) -> CachePartition:
        """Return a new owner's partition. The owner must keep a reference to it."""
        return CachePartition(self, owner)

    def __len__(self) -> int:
        if self._deleted_sizes:
            with self._lock:
                self._subtract_deleted()
        return self._size

    def must_evict(self, *, ended: bool) -> bool:
        """Whether records must go: ended ones to keep the spare part free, others beyond `most`."""
        return len(self) > (self.most - self._spare if ended else self.most)

    def evict(self) -> None:
        """Evict from all partitions until the cache is within its bound or nothing may go."""
        while self.must_evict(ended=True) and self._evicting.acquire(blocking=False):
            try:
                has_evicted = self._evict_once()
            finally:
                self._evicting.release()
            if not has_evicted:
                break

    def _evict_once(self) -> bool:
        """Return whether any record has gone."""
        with self._lock:
            partitions = sorted(self._partitions, key=lambda p: p.size, reverse=True)
        before = len(self)
        for ended in (True, False):
            for partition in partitions:
                partition.evict(ended=ended)
        return len(self) < before

    def _update_size(self, partition: CachePartition, size: int) -> None:
        with self._lock:
            self._subtract_deleted()
            self._size += size - partition.size
            partition.size = size
            self._partitions.add(partition)

    def _on_partition_deleted(self, partition: CachePartition) -> None:
        # The garbage collector may run this anywhere, even inside `_update_size`.
        self._deleted_sizes.append(partition.size)

    def _subtract_deleted(self) -> None:
        while self._deleted_sizes:
            self._size -= self._deleted_sizes.popleft()


def _evict_on_loop(partition_ref: "ref[CachePartition]") -> None:
    if (partition := partition_ref()) is not None:
        partition.evict_scheduled()


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs on this thread; None if there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


RECORD_CACHE = RecordCache()
