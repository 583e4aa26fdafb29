"""Periods of results: a day, week, month or year of trading days, all, or from one to another.

Pure.
"""

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

DAY = timedelta(days=1)


class Kind(StrEnum):
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"
    ALL = "all"
    CUSTOM = "custom"


@dataclass(frozen=True, slots=True)
class Period:
    """Trading days from start to end, both included."""

    kind: Kind
    start: date
    end: date

    @property
    def label(self) -> str:
        """The period in words: `Week of 2 Mar 2026`."""
        match self.kind:
            case Kind.DAY:
                return f"{self.start:%a %-d %b %Y}"
            case Kind.WEEK:
                return f"Week of {self.start:%-d %b %Y}"
            case Kind.MONTH:
                return f"{self.start:%B %Y}"
            case Kind.YEAR:
                return f"{self.start:%Y}"
            case Kind.ALL:
                return "All time"
        return f"{self.start:%-d %b %Y} to {self.end:%-d %b %Y}"

    @property
    def previous(self) -> date | None:
        """A day of the period before; None: there is none."""
        return None if self.kind in (Kind.ALL, Kind.CUSTOM) else self.start - DAY

    @property
    def following(self) -> date | None:
        """A day of the period after; None: there is none."""
        return None if self.kind in (Kind.ALL, Kind.CUSTOM) else self.end + DAY


def period_of(kind: Kind, day: date) -> Period:
    """Return the day, week (from Monday), month or year that a trading day lies in.

    Raises ValueError for a kind without fixed bounds.
    """
    match kind:
        case Kind.DAY:
            return Period(kind, day, day)
        case Kind.WEEK:
            monday = day - DAY * day.weekday()
            return Period(kind, monday, monday + DAY * 6)
        case Kind.MONTH:
            last = monthrange(day.year, day.month)[1]
            return Period(kind, day.replace(day=1), day.replace(day=last))
        case Kind.YEAR:
            return Period(kind, date(day.year, 1, 1), date(day.year, 12, 31))
    raise ValueError(f"{kind} has no fixed bounds")
