"""A trading day starts by the wall clock of its preset's zone, summer and winter."""

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connections.models import TradingPreset
from connections.trading_day import DayRule, bounds, latest_date, rule_of, trading_date, trading_day

NOON = time(12)


@pytest.mark.parametrize(
    ("at", "rule", "day"),
    [
        ("2026-01-15T21:59:59Z", DayRule(), "2026-01-15"),  # winter: 22:00 UTC
        ("2026-01-15T22:00:00Z", DayRule(), "2026-01-16"),
        ("2026-07-15T20:59:59Z", DayRule(), "2026-07-15"),  # summer: 21:00 UTC
        ("2026-07-15T21:00:00Z", DayRule(), "2026-07-16"),
        ("2026-03-08T20:59:59Z", DayRule(), "2026-03-08"),  # the clocks change that day
        ("2026-03-08T21:00:00Z", DayRule(), "2026-03-09"),
        ("2026-11-01T21:59:59Z", DayRule(), "2026-11-01"),
        ("2026-01-15T17:00:00Z", DayRule("Europe/London"), "2026-01-16"),
        ("2026-01-15T08:00:00Z", DayRule("Asia/Tokyo"), "2026-01-16"),
        ("2026-01-15T00:00:00Z", DayRule("UTC", time(0)), "2026-01-15"),  # a calendar day
        ("2026-01-14T23:59:59Z", DayRule("UTC", time(0)), "2026-01-14"),
        ("2026-01-15T14:30:00Z", DayRule("America/New_York", time(9, 30)), "2026-01-15"),
        ("2026-01-15T14:29:59Z", DayRule("America/New_York", time(9, 30)), "2026-01-14"),
        ("2026-01-15T11:59:00Z", DayRule("UTC", NOON), "2026-01-15"),  # from noon on: its end
        ("2026-01-15T12:00:00Z", DayRule("UTC", NOON), "2026-01-16"),
    ],
)
def test_day(at: str, rule: DayRule, day: str) -> None:
    assert trading_date(datetime.fromisoformat(at), rule) == date.fromisoformat(day)


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
    starts_at=st.sampled_from([time(17), time(0), time(9, 30), NOON, time(11, 59), time(23, 45)]),
)
def test_every_moment_belongs_to_exactly_one_day(at: datetime, zone: str, starts_at: time) -> None:
    rule = DayRule(zone, starts_at)
    day = trading_date(at, rule)
    start, end = bounds(day, rule)
    assert start <= at < end
    assert bounds(day + timedelta(days=1), rule)[0] == end
    assert day <= latest_date(at)  # "until today" covers every preset


def test_preset_decides_the_day_and_without_one_new_york() -> None:
    at = datetime(2026, 1, 15, 23, tzinfo=UTC)
    tokyo = TradingPreset(trading_day_zone="Asia/Tokyo", trading_day_start=time(8))
    day = trading_day(tokyo, at)
    assert (day.date, day.start) == (date(2026, 1, 16), datetime(2026, 1, 15, 23, tzinfo=UTC))
    assert day.end - day.start == timedelta(days=1)
    assert trading_day(None, at).start == datetime(2026, 1, 15, 22, tzinfo=UTC)
    assert rule_of(TradingPreset(trading_day_zone="")) == DayRule()
