"""A trading day starts by the wall clock of its preset's zone, summer and winter."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from connections.models import TradingPreset
from connections.trading_day import (
    DayRule,
    bounds,
    day_start_sql,
    latest_date,
    rule_of,
    trading_date,
    trading_date_sql,
    trading_day,
)
from tests.examples import DRAWS_OTHERS, examples

NOON = time(12)
WEEK, SECOND = timedelta(weeks=1), timedelta(seconds=1)
SINCE, UNTIL = datetime(2010, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)
# By 1 h, by 30 min, by 2 h, backwards in winter, for good, and by a whole day. The rules of few
# zones, since the database has them from somewhere else, perhaps of another year.
ZONES = (
    "America/New_York", "Europe/London", "Australia/Lord_Howe", "Antarctica/Troll",
    "Europe/Dublin", "Europe/Moscow", "Pacific/Apia",
)  # fmt: skip
CHANGED_DAYS = """SELECT x.day, {start}, {end} FROM (SELECT moment.*, {date} AS day FROM unnest(
      %(at)s::timestamptz[], %(zone)s::text[], %(day_offset)s::interval[])
    WITH ORDINALITY AS moment(at, zone, day_offset, number)) x ORDER BY x.number"""


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


@cache
def changes(zone: str) -> list[datetime]:
    """Return the moments at which the clocks of a zone change."""
    tz = ZoneInfo(zone)

    def ahead(at: datetime) -> timedelta:
        return at.astimezone(tz).utcoffset() or timedelta()

    found = []
    for week in range((UNTIL - SINCE) // WEEK):
        early, late = SINCE + week * WEEK, SINCE + (week + 1) * WEEK
        if (before := ahead(early)) == ahead(late):
            continue
        while late - early > SECOND:
            middle = (early + (late - early) / 2).replace(microsecond=0)
            early, late = (middle, late) if ahead(middle) == before else (early, middle)
        found.append(late)
    return found


@st.composite
def changed_nights(draw: st.DrawFn) -> tuple[datetime, DayRule]:
    """A change of the clocks, and a day that starts near the local time at which they change."""
    known = sorted(available_timezones()) if DRAWS_OTHERS else ZONES  # as every machine has them
    zone = draw(st.sampled_from(known).filter(changes))
    at = draw(st.sampled_from(changes(zone)))
    local = at.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    minutes = draw(st.integers(-130, 130))
    return at, DayRule(zone, (local + timedelta(minutes=minutes)).time())


def moments_around(at: datetime) -> Iterator[datetime]:
    return (at + timedelta(minutes=13 * step) for step in range(-200, 200))


@settings(max_examples=examples(30))  # each looks at 400 moments
@given(night=changed_nights())
def test_days_follow_each_other_when_clocks_change(night: tuple[datetime, DayRule]) -> None:
    at, rule = night
    last = date.min
    for moment in moments_around(at):
        day = trading_date(moment, rule)
        start, end = bounds(day, rule)
        assert start <= moment < end
        assert day >= last
        last = day


@pytest.mark.django_db
@pytest.mark.parametrize("starts_at", [time(0), time(1, 30), time(2, 30), time(17), time(23, 45)])
def test_database_has_the_same_days_when_clocks_change(starts_at: time) -> None:
    moments = [
        (at + step * timedelta(minutes=30), DayRule(zone, starts_at))
        for zone in ZONES
        for at in changes(zone)
        for step in range(-6, 7)
    ]
    columns = {"zone": "x.zone", "offset": "x.day_offset"}
    statement = CHANGED_DAYS.format(
        date=trading_date_sql("moment.at", zone="moment.zone", offset="moment.day_offset"),
        start=day_start_sql("x.day", **columns),
        end=day_start_sql("(x.day + 1)", **columns),
    )
    values: dict[str, Any] = {
        "at": [at for at, _ in moments],
        "zone": [rule.zone for _, rule in moments],
        "day_offset": [rule.offset for _, rule in moments],
    }
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        stored = cursor.fetchall()
    for (at, rule), (day, start, end) in zip(moments, stored, strict=True):
        assert (day, start, end) == (trading_date(at, rule), *bounds(day, rule)), (at, rule)
        assert start <= at < end


def test_preset_decides_the_day_and_without_one_new_york() -> None:
    at = datetime(2026, 1, 15, 23, tzinfo=UTC)
    tokyo = TradingPreset(trading_day_zone="Asia/Tokyo", trading_day_start=time(8))
    day = trading_day(tokyo, at)
    assert (day.date, day.start) == (date(2026, 1, 16), datetime(2026, 1, 15, 23, tzinfo=UTC))
    assert day.end - day.start == timedelta(days=1)
    assert trading_day(None, at).start == datetime(2026, 1, 15, 22, tzinfo=UTC)
    assert rule_of(TradingPreset(trading_day_zone="")) == DayRule()
