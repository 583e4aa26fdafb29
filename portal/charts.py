"""Line charts as numbers for inline SVG, in percent so that text keeps its size. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

WIDTH, HEIGHT, TOP = 1000, 200, 6


@dataclass(frozen=True, slots=True)
class Mark:
    """A label on an axis. at: its position."""

    at: str
    text: str
    anchor: str = "start"


@dataclass(frozen=True, slots=True)
class Chart:
    """A line chart. path: in a view box of WIDTH × HEIGHT; end_y and marks in pixels."""

    path: str
    levels: Sequence[Mark]
    days: Sequence[Mark]
    end_y: str
    description: str


def line(points: Sequence[tuple[date, Decimal]], *, description: str) -> Chart | None:
    """Draw a running sum from zero; None for fewer than two points."""
    if len(points) < 2:
        return None
    values = [float(value) for _, value in points]
    scale = ticks(min(0.0, *values), max(0.0, *values))
    low, high = scale[0], scale[-1]
    first, last = points[0][0], points[-1][0]
    days = max((last - first).days, 1)

    def y(value: float) -> float:
        return HEIGHT - (value - low) / (high - low) * HEIGHT

    path = " L".join(
        f"{(day - first).days / days * WIDTH:.1f} {y(float(value)):.1f}" for day, value in points
    )
    levels = [Mark(f"{y(tick) + TOP:.1f}", f"{tick:,.0f}".replace("-", "−")) for tick in scale]
    marks = [Mark("0%", f"{first:%-d %b}"), Mark("100%", f"{last:%-d %b}", "end")]
    middle = first + (last - first) / 2
    if first < middle < last:  # a line of two days has no day in the middle
        marks.insert(1, Mark(f"{(middle - first).days / days:.0%}", f"{middle:%-d %b}", "middle"))
    return Chart(f"M{path}", levels, marks, f"{y(values[-1]) + TOP:.1f}", description)


def ticks(low: float, high: float) -> list[float]:
    """Return three to six round values that enclose low and high."""
    span = (high - low) or 1.0
    step = 1.0
    while span / step > 5:
        step *= 2.5 if str(step)[0] == "2" else 2
    while span / step < 2:
        step /= 2
    first = step * (low // step)
    levels = [first]
    while levels[-1] < high:
        levels.append(levels[-1] + step)
    return levels if len(levels) > 1 else [first, first + step]
