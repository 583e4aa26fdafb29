"""Trading hours as brokers and calendars state them: the edges, and what is unknown."""

from datetime import UTC, date, datetime, timedelta

import pytest

from brokers.trading_hours import (
    StoredHours,
    calendar_of,
    hours_of,
    is_closed,
    is_known,
    opens_at,
    read_sessions,
)

NEW_YORK = "America/New_York"
WEEK = (
    "20261125:0930-20261125:1600;20261126:CLOSED;20261127:0930-20261127:1300;"
    "20261128:CLOSED;20261129:CLOSED;20261130:0930-20261130:1600"
)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


def stored(text: str, zone: str = NEW_YORK) -> StoredHours:
    hours = read_sessions(text, zone)
    assert hours is not None
    return hours.stored()


@pytest.mark.parametrize(
    ("at", "closed"),
    [
        ("2026-11-25 14:29:59", True),
        ("2026-11-25 14:30:00", False),
        ("2026-11-25 20:59:59", False),
        ("2026-11-25 21:00:00", True),
        ("2026-11-26 16:00:00", True),  # Thanksgiving
        ("2026-11-27 17:59:59", False),
        ("2026-11-27 18:00:00", True),  # it closes early
    ],
)
def test_edges_of_sessions_holidays_and_early_closes(at: str, closed: bool) -> None:
    hours = stored(WEEK)
    assert is_known(hours, utc(at))
    assert is_closed(hours, utc(at)) is closed


def test_closed_market_states_when_it_opens() -> None:
    hours = stored(WEEK)
    assert opens_at(hours, utc("2026-11-25 21:00:00")) == utc("2026-11-27 14:30:00")
    assert opens_at(hours, utc("2026-11-27 18:00:00")) == utc("2026-11-30 14:30:00")


@pytest.mark.parametrize("at", ["2026-11-25 04:59:59", "2026-11-30 21:00:00"])
def test_times_before_and_after_the_list_are_unknown(at: str) -> None:
    hours = stored(WEEK)
    assert not is_known(hours, utc(at))
    assert not is_closed(hours, utc(at))
    assert opens_at(hours, utc(at)) is None


def test_day_that_is_missing_in_the_list_is_unknown() -> None:
    hours = stored("20261125:0930-20261125:1600;20261127:0930-20261127:1300")
    noon = utc("2026-11-26 17:00:00")
    assert not is_known(hours, noon)
    assert not is_closed(hours, noon)
    assert is_closed(hours, utc("2026-11-25 22:00:00"))
    assert opens_at(hours, utc("2026-11-25 22:00:00")) is None  # the next day may be open


def test_session_over_midnight_with_a_break() -> None:
    hours = stored("20261122:1715-20261123:1700;20261123:1715-20261124:1700;20261125:CLOSED")
    assert is_closed(hours, utc("2026-11-22 22:14:59"))
    assert not is_closed(hours, utc("2026-11-23 06:00:00"))
    assert is_closed(hours, utc("2026-11-23 22:14:59"))
    assert not is_closed(hours, utc("2026-11-23 22:15:00"))
    assert is_closed(hours, utc("2026-11-26 04:59:59"))  # all of the closed day is known


@pytest.mark.parametrize(
    ("day", "opens"), [("20261030", "13:30"), ("20261102", "14:30"), ("20270315", "13:30")]
)
def test_wall_clock_times_follow_daylight_saving(day: str, opens: str) -> None:
    hours = stored(f"{day}:0930-{day}:1600")
    at = utc(f"{day[:4]}-{day[4:6]}-{day[6:]} {opens}:00")
    assert not is_closed(hours, at)
    assert is_closed(hours, at - timedelta(seconds=1))


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("", NEW_YORK),
        ("20261125", NEW_YORK),
        ("20261125:0930-1600:late", NEW_YORK),
        ("20261345:0930-20261345:1600", NEW_YORK),
        ("20261125:0930-20261125:2560", NEW_YORK),
        ("20261125:1600-20261125:0930", NEW_YORK),
        ("20261125:0930-20261125:1600", "Mars/Olympus"),
        ("20261125:0930-20261125:1600", ""),
    ],
)
def test_unreadable_hours_are_unknown(text: str, zone: str) -> None:
    assert read_sessions(text, zone) is None


def test_days_of_a_calendar_are_known_as_a_whole() -> None:
    session = (utc("2026-11-25 14:30:00"), utc("2026-11-25 21:00:00"))
    days = [date(2026, 11, 25), date(2026, 11, 26)]
    hours = hours_of(days, [session], NEW_YORK).stored()
    assert hours["known"] == [[1795582800, 1795755600]]  # joined
    assert is_closed(hours, datetime(2026, 11, 27, 4, 59, 59, tzinfo=UTC))
    assert not is_known(hours, datetime(2026, 11, 27, 5, tzinfo=UTC))


def test_exchanges_by_the_names_that_brokers_have_for_them() -> None:
    assert calendar_of(" nasdaq ") == calendar_of("NYSE") == "XNYS"
    assert calendar_of("IBIS") == "XETR"
    for unknown in ("", "SMART", "TSE", "IDEALPRO"):
        assert calendar_of(unknown) == ""
