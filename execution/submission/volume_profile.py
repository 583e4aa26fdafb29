"""How the volume of a symbol is spread over the time of an entry, from earlier days. Pure.

Volume is the number of quotes: brokers of currencies have no other. Source: docs/slices.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from math import ceil, floor

ZERO, MINUTE = Decimal(0), Decimal(60)
LEAST_DAYS = 2
LEAST_SHARE = Decimal("0.01")
"""The least weight of a slice, in parts of an equal one: no slice is without volume."""

Day = Mapping[int, int]
"""A day's quotes by minute, counted from the minute in which the entry begins."""


@dataclass(frozen=True, slots=True)
class VolumeProfile:
    """Days whose volume is known. second: of its minute, in which the entry begins."""

    days: tuple[Day, ...]
    second: Decimal

    def weights(self, duration: int, slices: int) -> list[Decimal]:
        """Return the volume of each slice; equal parts would have 1. duration: seconds.

        Each day counts the same, however many quotes it had. Within a minute volume is even.
        """
        ends = [self.second + Decimal(duration) * i / slices for i in range(slices + 1)]
        sums = [ZERO] * slices
        for day in self.days:
            parts = [_volume(day, start, end) for start, end in pairwise(ends)]
            total = sum(parts, ZERO)
            for number, part in enumerate(parts):
                sums[number] += part / total
        return [max(one * slices / len(self.days), LEAST_SHARE) for one in sums]


def profile_of(days: Sequence[Day], *, second: Decimal, duration: int) -> VolumeProfile | None:
    """Return the profile of an entry's time of day; None: too little is known.

    days: of the time of the entry, some days earlier. A day counts if at least half of its minutes
    have quotes: weekends, holidays and times without a price source do not.
    """
    minutes = ceil((second + duration) / MINUTE)
    known = [
        day
        for day in days
        if len(day) * 2 >= minutes and _volume(day, second, second + duration) > 0
    ]
    return VolumeProfile(tuple(known), second) if len(known) >= LEAST_DAYS else None


def _volume(day: Day, start: Decimal, end: Decimal) -> Decimal:
    """Return the quotes between two times, in seconds after the first minute began."""
    total = ZERO
    for minute in range(floor(start / MINUTE), ceil(end / MINUTE)):
        overlap = min(end, (minute + 1) * MINUTE) - max(start, minute * MINUTE)
        total += day.get(minute, 0) * overlap / MINUTE
    return total
