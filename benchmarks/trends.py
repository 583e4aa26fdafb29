"""Whether figures that were sampled over time grow: the slope of a line, and how certain it is."""

import math
from collections.abc import Sequence
from typing import NamedTuple

HOUR = 3600.0


class Trend(NamedTuple):
    """A line through samples. an_hour: how much it rises; error: its standard error, an hour."""

    mean: float
    an_hour: float
    error: float

    @property
    def uncertainty(self) -> float:
        """How far the growth an hour may be off: twice the standard error."""
        return 2 * self.error

    @property
    def at_least(self) -> float:
        """The growth an hour that the samples prove."""
        return max(self.an_hour - self.uncertainty, 0.0)


def trend(seconds: Sequence[float], values: Sequence[float]) -> Trend:
    """Return the line of least squares through `values` at these times."""
    count = len(values)
    if count < 3:
        return Trend(sum(values) / max(count, 1), 0.0, math.inf)
    middle, mean = sum(seconds) / count, sum(values) / count
    spread = sum((at - middle) ** 2 for at in seconds)
    together = sum(
        (at - middle) * (value - mean) for at, value in zip(seconds, values, strict=True)
    )
    slope = together / spread
    rest = sum(
        (value - mean - slope * (at - middle)) ** 2
        for at, value in zip(seconds, values, strict=True)
    )
    return Trend(mean, HOUR * slope, HOUR * math.sqrt(rest / (count - 2) / spread))
