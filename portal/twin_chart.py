"""The equities of a live account and its paper twin on one scale, for inline SVG. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from analytics.compare.twins import EquityDay
from portal.charts import HEIGHT, TOP, WIDTH, Mark, ticks


@dataclass(frozen=True, slots=True)
class TwinChart:
    """Two lines. Paths are in a view box of WIDTH × HEIGHT."""

    live: str
    twin: str
    levels: Sequence[Mark]
    days: Sequence[Mark]
    description: str


def twin_chart(equity: Sequence[EquityDay], *, description: str) -> TwinChart | None:
    """Draw both equities; None without a closed trade."""
    if len(equity) < 2:
        return None
    values = [float(value) for day in equity for value in (day.live, day.twin)]
    levels = ticks(min(values), max(values))
    low, high = levels[0], levels[-1]
    last = len(equity) - 1

    def path(line: Sequence[Decimal]) -> str:
        """Steps of equal width: days without a trade are left out."""
        points = (
            f"{at / last * WIDTH:.1f} {HEIGHT - (float(one) - low) / (high - low) * HEIGHT:.1f}"
            for at, one in enumerate(line)
        )
        return "M" + " L".join(points)

    places = 0 if high - low >= 5 else 2
    return TwinChart(
        path([day.live for day in equity]),
        path([day.twin for day in equity]),
        [
            Mark(
                f"{HEIGHT - (level - low) / (high - low) * HEIGHT + TOP:.1f}",
                f"{level:,.{places}f}".replace("-", "−"),
            )
            for level in levels
        ],
        [Mark("0%", "Start"), Mark("100%", f"{equity[-1].day:%-d %b %Y}", "end")],
        description,
    )
