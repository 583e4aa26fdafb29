"""A cache of the history's records: each is parsed once, since closed trades do not change.

The expert advisor writes the whole history at each request, so a busy account's day would be parsed
again for each exit. Records are cached by their own text, without assumptions about their content:
a changed record has another text. Both expert advisors write the comment last in a record.

The cache has a terminal's history as it was read last, completely or not at all; without it, the
whole text is parsed at once, which is cheaper than by records. So only the first read of a cached
history costs more (by a half) than parsing the file once.
"""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

MAX_RECORDS = 10_000  # records, of all terminals of a process: some 13 MB
IDLE_SECONDS = 3600.0
RECORD_SEPARATOR = '"}, "'  # a record's end and the next one's number


class Numbered(Protocol):
    @property
    def number(self) -> int: ...


T = TypeVar("T", bound=Numbered)


class HistoryCache:
    """The bound on the histories that a process caches.

    If there are too many records, histories that were not used for an hour are evicted first, then
    those more than twice as long as the new one: so equals do not evict each other, and one
    terminal's years do not displace all others' days."""

    def __init__(self, most: int = MAX_RECORDS) -> None:
        self.most, self._lock = most, threading.Lock()
        self._pasts: WeakSet[TerminalHistory] = WeakSet()

    def __len__(self) -> int:
        return sum(len(one) for one in list(self._pasts))

    def may_keep(self, past: "TerminalHistory", size: int) -> bool:
        """Whether the cache can hold so many records of one terminal."""
        with self._lock:
            return self._going(past, size) is not None

    def keep(self, past: "TerminalHistory", found: dict[str, tuple[Any, ...]]) -> None:
        """Replace the cached records of one terminal, if the cache can hold the new ones."""
        with self._lock:
            going = self._going(past, len(found))
            for one in going or ():
                one.kept = {}
            past.kept = {} if going is None else found
            self._pasts.add(past)

    def _going(self, past: "TerminalHistory", size: int) -> "list[TerminalHistory] | None":
        """Return the histories to evict; None if that would not be enough."""
        others = [one for one in self._pasts if one is not past and len(one)]
        spare = self.most - size - sum(map(len, others))
        idle_since = time.monotonic() - IDLE_SECONDS
        may_go = [one for one in others if one.used_at < idle_since or len(one) > 2 * size]
        may_go.sort(key=lambda one: (one.used_at >= idle_since, -len(one)))
        going = []
        while spare < 0 and may_go:
            going.append(may_go.pop(0))
            spare += len(going[-1])
        return going if spare >= 0 else None


HISTORY_CACHE = HistoryCache()


class TerminalHistory:
    """One terminal's history as it was read last. Any thread may read, one at a time."""

    def __init__(self, shelf: HistoryCache = HISTORY_CACHE) -> None:
        self._shelf = shelf
        self.kept: dict[str, tuple[Any, ...]] = {}  # by the records' texts; the shelf's to change
        self.used_at = time.monotonic()

    def __len__(self) -> int:
        return len(self.kept)

    def read(self, text: str, read: Callable[[str], tuple[T, ...]]) -> tuple[T, ...]:
        """Return the records of a file's JSON; of a number that occurs twice, the last one.

        read: parses the whole text or any single record; raises ValueError for an incomplete one.
        """
        self.used_at, kept = time.monotonic(), self.kept
        if not kept and not self._shelf.may_keep(self, text.count(RECORD_SEPARATOR) + 1):
            return read(text)
        try:
            texts = list(_records(text))
            found = {one: kept[one] if one in kept else read(one) for one in texts}
        except ValueError:  # it is incomplete, or a comment looks like a record's end
            return read(text)
        self._shelf.keep(self, found)
        return tuple({one.number: one for record in texts for one in found[record]}.values())


def _records(text: str) -> Iterator[str]:
    """Split an object of records into objects of one record each."""
    text = text.strip()
    if text[:1] != "{" or text[-1:] != "}":
        raise ValueError("not an object")
    first, *others = text[1:-1].split(RECORD_SEPARATOR)
    for one in others:
        yield f'{{{first}"}}}}'
        first = f'"{one}'
    yield f"{{{first}}}"
