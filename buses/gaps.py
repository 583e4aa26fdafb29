"""Which ids of an append-only table have been read, although they commit out of order. Pure.

An id is taken from a sequence before its transaction commits, so a higher id may be visible before
a lower one. A reader that has seen id 9 and not id 8 keeps 8 as a gap and reads it later. The gap
is given up once all transactions have ended that had the table open for writing when it was seen,
and 8 is still missing: then its transaction has rolled back (docs/adr/0068).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

Range = tuple[int, int]
"""The first and the last id."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Ranges that were missing at one read, and the transactions that may still add them."""

    ranges: tuple[Range, ...]
    writers: frozenset[str]


@dataclass(frozen=True, slots=True)
class Gaps:
    """What a reader knows: the highest id that it has read, and what was missing below it."""

    last_id: int
    seen: tuple[Seen, ...] = field(default=())

    @property
    def ranges(self) -> list[Range]:
        """All ranges that have to be read again."""
        return [one for group in self.seen for one in group.ranges]

    @property
    def low_water(self) -> int:
        """Everything up to this id has been read or will never be."""
        return min([first - 1 for first, _ in self.ranges], default=self.last_id)

    def after(
        self,
        found: Collection[int],
        *,
        writers_before: Collection[str],
        writers_after: Collection[str],
    ) -> Gaps:
        """Return what is known after a read.

        found: the ids that were read, those of gaps and those above `last_id` without a limit in
        between. writers_before: the transactions that had the table open just before the read,
        writers_after: just after it.
        """
        old = []
        for group in self.seen:
            ranges = tuple(part for one in group.ranges for part in _without(one, found))
            if ranges and not group.writers.isdisjoint(writers_before):
                old.append(Seen(ranges, group.writers))
        new = sorted(number for number in found if number > self.last_id)
        missing = tuple(_between(self.last_id, new))
        if missing:
            old.append(Seen(missing, frozenset(writers_after)))
        return Gaps(new[-1] if new else self.last_id, tuple(old))

    def below(self, last_id: int) -> Gaps:
        """Return what is known if everything above this id is read again."""
        groups = [
            Seen(
                tuple((first, min(last, last_id)) for first, last in group.ranges
                      if first <= last_id),
                group.writers,
            )
            for group in self.seen
        ]  # fmt: skip
        return Gaps(last_id, tuple(group for group in groups if group.ranges))

    def stored(self) -> list[dict[str, Any]]:
        """Return the gaps as JSON."""
        return [
            {"ranges": [list(one) for one in group.ranges], "writers": sorted(group.writers)}
            for group in self.seen
        ]

    @classmethod
    def read(cls, last_id: int, stored: Sequence[dict[str, Any]]) -> Gaps:
        """Return what was stored."""
        return cls(
            last_id,
            tuple(
                Seen(
                    tuple((int(first), int(last)) for first, last in group["ranges"]),
                    frozenset(group["writers"]),
                )
                for group in stored
            ),
        )


def _between(last_id: int, ids: Sequence[int]) -> list[Range]:
    """Return the ranges that are missing between `last_id` and the last of these ids, in order."""
    ranges = []
    for number in ids:
        if number > last_id + 1:
            ranges.append((last_id + 1, number - 1))
        last_id = number
    return ranges


def _without(one: Range, found: Collection[int]) -> list[Range]:
    """Return what is left of a range without these ids."""
    first, last = one
    within = sorted(number for number in found if first <= number <= last)
    return _between(first - 1, [*within, last + 1])
