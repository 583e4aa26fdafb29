"""Trading days with their first moments, written down: whatever counts by days must agree."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import pytest

from common.clocks import MarketClock, set_market_clock

INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Day:
    """The trading day of a date by one zone and start, and the first moment of the next one."""

    name: str
    zone: str
    starts_at: time
    date: date
    start: datetime
    end: datetime

    def moments(self) -> list[tuple[datetime, bool]]:
        """Return moments on both sides of its borders, and whether each belongs to it."""
        return [
            (self.start - INSTANT, False),
            (self.start, True),
            (self.end - INSTANT, True),
            (self.end, False),
        ]


def _day(name: str, zone: str, starts_at: str, on: str, start: str, end: str) -> Day:
    return Day(
        name, zone, time.fromisoformat(starts_at), date.fromisoformat(on),
        datetime.fromisoformat(start), datetime.fromisoformat(end),
    )  # fmt: skip


DAYS = [
    _day("New York, default", "", "17:00", "2026-03-11", "2026-03-10T21:00Z", "2026-03-11T21:00Z"),
    _day("New York, 23 hours", "", "17:00", "2026-03-08", "2026-03-07T22:00Z", "2026-03-08T21:00Z"),
    _day("New York, 25 hours", "", "17:00", "2026-11-01", "2026-10-31T21:00Z", "2026-11-01T22:00Z"),
    _day("Tokyo, midnight", "Asia/Tokyo", "00:00", "2026-03-11", "2026-03-10T15:00Z",
         "2026-03-11T15:00Z"),
    _day("London, spring", "Europe/London", "01:30", "2026-03-29", "2026-03-29T01:30Z",
         "2026-03-30T00:30Z"),
    _day("Kiritimati, noon", "Pacific/Kiritimati", "12:00", "2026-03-11", "2026-03-09T22:00Z",
         "2026-03-10T22:00Z"),
    _day("the last zone", "Etc/GMT+12", "11:59", "2026-03-11", "2026-03-11T23:59Z",
         "2026-03-12T23:59Z"),
]  # fmt: skip
EACH_DAY = pytest.mark.parametrize("day", DAYS, ids=lambda day: day.name)


def stop_clock(at: datetime) -> None:
    """Let the market clock show this time and stand."""
    set_market_clock(MarketClock(at, datetime.now(UTC), 0))
