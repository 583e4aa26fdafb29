"""Charts as numbers: bars and histograms in percent, for inline SVG without a style. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log2, log10

MIN_SEGMENT = 0.7  # percent; a thinner segment would not be seen
GAP = 0.25


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of a bar. x, width: percent."""

    css: str
    x: str
    width: str


def segments(parts: Mapping[str, int]) -> list[Segment]:
    """Divide a bar among its parts; each non-empty part gets at least MIN_SEGMENT percent."""
    there = {css: count for css, count in parts.items() if count > 0}
    total = sum(there.values())
    available = 100 - GAP * max(len(there) - 1, 0)
    widths = {css: max(count / total * available, MIN_SEGMENT) for css, count in there.items()}
    shrink = available / sum(widths.values()) if widths else 1
    made, x = [], 0.0
    for css, width in widths.items():
        made.append(Segment(css, f"{x:.2f}%", f"{width * shrink:.2f}%"))
        x += width * shrink + GAP
    return made


@dataclass(frozen=True, slots=True)
class Span:
    """A latency on a logarithmic line from 1 ms to 10 s. Percent."""

    p50: str
    width: str
    maximum: str


def span(p50: float, p99: float, maximum: float) -> Span:
    """Place a step's p50 to p99, and its longest."""
    start, end, last = (min(max(log10(max(ms, 1)) / 4, 0), 1) * 100 for ms in (p50, p99, maximum))
    return Span(
        f"{min(start, 99):.1f}%", f"{max(end - start, 0.5):.1f}%", f"{min(last, 99.5):.1f}%"
    )


@dataclass(frozen=True, slots=True)
class Column:
    """A histogram's column. x, width, middle: percent; y, height: of 220 px."""

    count: int
    x: str
    width: str
    middle: str
    y: str
    label_y: str
    height: str
    slow: bool
    thin: bool


@dataclass(frozen=True, slots=True)
class Tick:
    x: str
    text: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """A logarithmic histogram, two columns for each doubling."""

    columns: list[Column]
    ticks: list[Tick]
    p50_x: str
    p99_x: str
    p50_anchor: str  # its label ends at its line, or starts there where it would leave the drawing
    p99_anchor: str
    p99_y: int  # the label's line: a second one where both would meet


FLOOR, HEIGHT = 220.0, 174.0
LABEL = 25  # percent of the width that a label may take


def histogram(buckets: Mapping[int, int], p50: float, p99: float) -> Histogram | None:
    """Draw counts by half-doublings: bucket k holds 2^(k/2) ms up to 2^((k+1)/2) ms."""
    if not buckets:
        return None
    first = min(buckets) // 2 * 2
    last = max(max(buckets) + 1, first + 8)
    last += (last - first) % 2
    bucket_count, highest = last - first, max(buckets.values())
    wide = 100 / bucket_count
    columns = [
        _column(buckets.get(k, 0), k - first, wide, highest, slow=2 ** (k / 2) >= p99)
        for k in range(first, last)
    ]

    def place(ms: float) -> float:
        return min(max((2 * log2(max(ms, 0.01)) - first) * wide, 0), 100)

    left, right = place(p50), place(p99)
    anchors = "start" if left < LABEL else "end", "end" if right > 100 - LABEL else "start"
    meet = anchors != ("end", "start") and right - left < 2 * LABEL
    return Histogram(
        columns,
        _ticks(first, bucket_count),
        f"{left:.1f}%",
        f"{right:.1f}%",
        *anchors,
        30 if meet else 12,
    )


def _column(count: int, place: int, wide: float, highest: int, *, slow: bool) -> Column:
    height = max(count / highest * HEIGHT, 1.0 if count else 0.0)
    x = place * wide + wide * 0.04
    return Column(
        count=count,
        x=f"{x:.2f}%",
        width=f"{wide * 0.92:.2f}%",
        middle=f"{x + wide * 0.46:.2f}%",
        y=f"{FLOOR - height:.1f}",
        label_y=f"{FLOOR - height - 5:.1f}",
        height=f"{height:.1f}",
        slow=slow,
        thin=place % 2 == 1,
    )


def _ticks(first: int, bucket_count: int) -> list[Tick]:
    step = 2 if bucket_count <= 8 else 4 if bucket_count <= 24 else 8
    places: Sequence[int] = range(0, bucket_count + 1, step)
    return [
        Tick(
            f"{place / bucket_count * 100:.1f}%",
            _milliseconds(2 ** ((first + place) // 2), with_unit=place == 0),
            "start" if place == 0 else "end" if place == bucket_count else "middle",
        )
        for place in places
    ]


def _milliseconds(ms: float, *, with_unit: bool) -> str:
    if ms >= 1000:
        return f"{round(ms / 1000)} s"
    return f"{ms:g} ms" if with_unit else f"{ms:g}"
