"""Charts of equity and drawdown as numbers for inline SVG. Pure.

Days without a value are gaps: the line stops before them and begins again after them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from portal.charts import HEIGHT, TOP, WIDTH, Mark, ticks


@dataclass(frozen=True, slots=True)
class FlowMark:
    """A deposit or a withdrawal under the line. at: its place in percent."""

    at: str
    text: str
    is_deposit: bool


@dataclass(frozen=True, slots=True)
class ResultChart:
    """A chart of days. path: in a view box of WIDTH × HEIGHT, one part for each gap-free run."""

    path: str
    levels: Sequence[Mark]
    days: Sequence[Mark]
    flows: Sequence[FlowMark]
    description: str


def day_chart(
    points: Sequence[tuple[date, Decimal | None]],
    *,
    description: str,
    flows: Sequence[tuple[date, str, bool]] = (),
    is_fraction: bool = False,
) -> ResultChart | None:
    """Draw a value a day; None for fewer than two values. flows: day, text, whether it came in."""
    known = [(day, float(value)) for day, value in points if value is not None]
    if len(known) < 2:
        return None
    scale = 100 if is_fraction else 1
    values = [value * scale for _, value in known]
    levels = ticks(min(values), max(values))
    low, high = levels[0], levels[-1]
    first, last = points[0][0], points[-1][0]
    span = max((last - first).days, 1)

    def x(day: date) -> float:
        return (day - first).days / span

    def y(value: float) -> float:
        return HEIGHT - (value - low) / (high - low) * HEIGHT

    drawn, is_pen_down = [], False
    for day, value in points:
        if value is not None:
            command = "L" if is_pen_down else "M"
            drawn.append(f"{command}{x(day) * WIDTH:.1f} {y(float(value) * scale):.1f}")
        is_pen_down = value is not None
    places = 0 if high - low >= 5 else 1 if high - low >= 0.5 else 2
    unit = " %" if is_fraction else ""
    return ResultChart(
        path=" ".join(drawn),
        levels=[Mark(f"{y(v) + TOP:.1f}", _label(v, places) + unit) for v in levels],
        days=[
            Mark("0%", f"{first:%-d %b %Y}"), Mark("100%", f"{last:%-d %b %Y}", "end"),
        ],
        flows=[FlowMark(f"{x(day):.2%}", text, came) for day, text, came in flows],
        description=description,
    )  # fmt: skip


def _label(value: float, places: int) -> str:
    text = f"{value:,.{places}f}".replace("-", "−")
    return text.removeprefix("−") if not text.strip("−0.,") else text
