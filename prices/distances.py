"""How far a source's prices lie from those of its fallbacks. Pure.

Two sources never quote the same price. A distance is the source's bid and ask less the fallback's
where both came within TOGETHER, so that no move of the market lies between them. One pair of quotes
proves nothing: either may be a bad tick. So a distance is known once MIN_SAMPLES of them are. It is
the newest pair's, so that a switch goes on from the last price; or, if that one is further from the
median than the spreads, the median.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from statistics import median

Offsets = tuple[Decimal, Decimal]
"""Of bid and ask: the source's less the fallback's."""

TOGETHER = timedelta(seconds=2)
APART = timedelta(seconds=5)  # between two samples: one bad tick must not be several
KEPT_SAMPLES, KEPT_FOR = 9, timedelta(minutes=10)
LOOK_BACK = timedelta(hours=24)  # an older distance is not known any more
MIN_SAMPLES = 3


@dataclass(frozen=True, slots=True)
class Sample:
    """A pair of quotes that came together. at: the source's; other_at: the fallback's.

    width: both spreads.
    """

    at: datetime
    other_at: datetime
    offsets: Offsets
    width: Decimal

    @property
    def gap(self) -> timedelta:
        """How long one came after the other."""
        return abs(self.at - self.other_at)


@dataclass(frozen=True, slots=True)
class Distance:
    """The distance to one fallback. newest: the last sample; samples: APART, oldest first."""

    newest: Sample | None = None
    samples: tuple[Sample, ...] = ()

    def with_sample(self, sample: Sample) -> "Distance":
        """Return it with one more sample, if that one came together and is later or closer."""
        newest = self.newest
        if sample.gap > TOGETHER or (newest is not None and not _is_better(sample, newest)):
            return self
        before = self.samples
        if before and before[-1].at == sample.at:
            before = before[:-1]
        elif before and sample.at - before[-1].at < APART:
            return Distance(sample, before)
        kept = [one for one in before if sample.at - one.at <= KEPT_FOR]
        return Distance(sample, (*kept, sample)[-KEPT_SAMPLES:])

    def since(self, at: datetime) -> "Distance":
        """Return it without what came before a time."""
        if self.newest is None or self.newest.at < at:
            return Distance()
        return Distance(self.newest, tuple(one for one in self.samples if one.at >= at))

    @property
    def known(self) -> Offsets | None:
        """The offsets; None: too few quotes came together."""
        if self.newest is None or len(self.samples) < MIN_SAMPLES:
            return None
        usual = _median_offsets(self.samples)
        width = median(one.width for one in self.samples)
        return self.newest.offsets if is_near(self.newest.offsets, usual, width) else usual


def distance_of(samples: Iterable[Sample]) -> Distance:
    """Return the distance that samples make, the oldest first."""
    found = Distance()
    for sample in samples:
        found = found.with_sample(sample)
    return found


def is_near(one: Offsets, other: Offsets, width: Decimal) -> bool:
    """Return whether offsets differ by no more than the spreads."""
    return all(abs(a - b) <= width for a, b in zip(one, other, strict=True))


def _is_better(sample: Sample, newest: Sample) -> bool:
    if sample.at == newest.at:
        return sample.gap < newest.gap
    return sample.at > newest.at and sample.other_at >= newest.other_at


def _median_offsets(samples: tuple[Sample, ...]) -> Offsets:
    return median(one.offsets[0] for one in samples), median(one.offsets[1] for one in samples)
