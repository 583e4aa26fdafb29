"""A trading day ends at 17:00 by the wall clock of its zone, summer and winter."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.days import bounds, latest_day, trading_day


@pytest.mark.parametrize(
    ("at", "zone", "day"),
    [
        ("2026-01-15T21:59:59Z", "America/New_York", "2026-01-15"),  # winter: 22:00 UTC
        ("2026-01-15T22:00:00Z", "America/New_York", "2026-01-16"),
        ("2026-07-15T20:59:59Z", "America/New_York", "2026-07-15"),  # summer: 21:00 UTC
        ("2026-07-15T21:00:00Z", "America/New_York", "2026-07-16"),
        ("2026-03-08T20:59:59Z", "America/New_York", "2026-03-08"),  # the clocks change that day
        ("2026-03-08T21:00:00Z", "America/New_York", "2026-03-09"),
        ("2026-11-01T21:59:59Z", "America/New_York", "2026-11-01"),
        ("2026-01-15T17:00:00Z", "Europe/London", "2026-01-16"),
        ("2026-01-15T08:00:00Z", "Asia/Tokyo", "2026-01-16"),
    ],
)
def test_day(at: str, zone: str, day: str) -> None:
    assert trading_day(datetime.fromisoformat(at), zone) == date.fromisoformat(day)


def test_dst_change_days_are_longer_and_shorter() -> None:
    hours = {
        day: (end - start) / timedelta(hours=1)
        for day in ("2026-03-08", "2026-03-09", "2026-11-01", "2026-11-02")
        for start, end in [bounds(date.fromisoformat(day))]
    }
    assert hours == {"2026-03-08": 23, "2026-03-09": 24, "2026-11-01": 25, "2026-11-02": 24}


@given(
    at=st.datetimes(datetime(2000, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    zone=st.sampled_from(["America/New_York", "Europe/Berlin", "Asia/Tokyo", "Pacific/Apia"]),
)
def test_every_moment_belongs_to_exactly_one_day(at: datetime, zone: str) -> None:
    day = trading_day(at, zone)
    start, end = bounds(day, zone)
    assert start <= at < end
    assert end.astimezone(ZoneInfo(zone)).hour == 17
    assert day <= latest_day(at)  # "until today" covers every time zone
