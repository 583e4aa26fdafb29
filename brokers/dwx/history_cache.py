"""The history, of which each record is read once: what was closed stays as it is.

The expert advisor tells all of it whenever it is asked, so a busy account's day would be read again
for each exit. Records are kept by their own text: nothing is remembered of whose or when, and what
a record says anew has another text. Both expert advisors put a comment last in a record.

A terminal's history is kept whole as it was read last, or not at all: then it is read at once,
which costs less than by records. So only the first reading of what is kept costs more (by a half)
than reading the file once.
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
    """Whose histories a process keeps. Where they are too many, those give way that nobody has
    asked for in an hour, and then those that are more than twice as long as what comes: so none
    takes the place of its like, and no terminal's years take it from all others' days."""

    def __init__(self, most: int = MAX_RECORDS) -> None:
        self.most, self._lock = most, threading.Lock()
        self._pasts: WeakSet[TerminalHistory] = WeakSet()

    def __len__(self) -> int:
        return sum(len(one) for one in list(self._pasts))

    def may_keep(self, past: "TerminalHistory", size: int) -> bool:
        """Whether there is a place for so many records of one terminal."""
        with self._lock:
            return self._going(past, size) is not None

    def keep(self, past: "TerminalHistory", found: dict[str, tuple[Any, ...]]) -> None:
        """Keep these of one terminal instead of what was kept of it, if there is a place."""
        with self._lock:
            going = self._going(past, len(found))
            for one in going or ():
                one.kept = {}
            past.kept = {} if going is None else found
            self._pasts.add(past)

    def _going(self, past: "TerminalHistory", size: int) -> "list[TerminalHistory] | None":
        """Return who gives way; None: too few do."""
        others = [one for one in self._pasts if one is not past and len(one)]
        spare = self.most - size - sum(map(len, others))
        idle_since = time.monotonic() - IDLE_SECONDS
        may_go = [one for one in others if one.asked < idle_since or len(one) > 2 * size]
        may_go.sort(key=lambda one: (one.asked >= idle_since, -len(one)))
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
        self.asked = time.monotonic()

    def __len__(self) -> int:
        return len(self.kept)

    def read(self, text: str, read: Callable[[str], tuple[T, ...]]) -> tuple[T, ...]:
        """Return what a file's JSON says: each record once, of a number that comes twice the last.

        read: understands all of the text, and any of its records alone; raises ValueError for what
        is half-written."""
        self.asked, kept = time.monotonic(), self.kept
        if not kept and not self._shelf.may_keep(self, text.count(RECORD_SEPARATOR) + 1):
            return read(text)
        try:
            texts = list(_records(text))
            found = {one: kept[one] if one in kept else read(one) for one in texts}
        except ValueError:  # it is half-written, or a comment looks like a record's end
            return read(text)
        self._shelf.keep(self, found)
        return tuple({one.number: one for record in texts for one in found[record]}.values())


def _records(text: str) -> Iterator[str]:
    """Cut an object of records into objects of one record each."""
    text = text.strip()
    if text[:1] != "{" or text[-1:] != "}":
        raise ValueError("not an object")
    first, *others = text[1:-1].split(RECORD_SEPARATOR)
    for one in others:
        yield f'{{{first}"}}}}'
        first = f'"{one}'
    yield f"{{{first}}}"
