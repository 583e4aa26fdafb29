"""Maintenance windows: on the broker's own clock, summer and winter, past midnight."""

from dataclasses import replace
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import pytest

from brokers.ibkr.form import FORM
from brokers.maintenance_windows import (
    BUILT_IN,
    DEFAULT_REGION,
    FRIDAY,
    MONDAY,
    REGION,
    Window,
    WindowTarget,
    open_windows,
    window_for,
)
from brokers.registry import broker_types


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NIGHT = Window("x", time(23, 45), "America/New_York", 60, frozenset({MONDAY}))


@pytest.mark.parametrize(
    ("moment", "until"),
    [
        ("2026-11-24T04:44:59", None),  # Monday 23:44:59 in New York
        ("2026-11-24T04:45:00", "2026-11-24T05:45:00"),
        ("2026-11-24T05:44:59", "2026-11-24T05:45:00"),  # Tuesday there: Monday's still
        ("2026-11-24T05:45:00", None),
        ("2026-11-25T04:50:00", None),  # Tuesday night
        ("2026-07-14T03:50:00", "2026-07-14T04:45:00"),  # summer time
    ],
)
def test_window_uses_the_clock_and_weekday_of_its_zone(moment: str, until: str | None) -> None:
    assert NIGHT.end_if_open(utc(moment)) == (utc(until) if until else None)


def test_window_that_lasts_for_days() -> None:
    weekend = Window("x", time(17), "America/New_York", 2 * 1440 + 5, frozenset({FRIDAY}))
    end = utc("2026-11-22T22:05:00")
    assert weekend.end_if_open(utc("2026-11-20T21:59:00")) is None
    assert weekend.end_if_open(utc("2026-11-20T22:00:00")) == end
    assert weekend.end_if_open(utc("2026-11-22T22:04:00")) == end
    assert weekend.end_if_open(end) is None


@pytest.mark.parametrize(
    ("open_until", "closed_from"),
    [("2027-03-14T21:04", "2027-03-14T21:05"), ("2027-11-07T22:04", "2027-11-07T22:05")],
)
def test_weekend_ends_by_the_clock_where_clocks_change(open_until: str, closed_from: str) -> None:
    account = WindowTarget("mt5")
    assert window_for(account, open_windows(utc(open_until), BUILT_IN)) is not None
    assert window_for(account, open_windows(utc(closed_from), BUILT_IN)) is None


def test_window_of_a_single_day_and_its_start() -> None:
    announced = Window("x", time(6), "UTC", 30, on=date(2026, 11, 25))
    assert announced.end_if_open(utc("2026-11-25T06:10:00")) == utc("2026-11-25T06:30:00")
    assert announced.end_if_open(utc("2026-11-26T06:10:00")) is None
    assert announced.next_start(utc("2026-11-20T00:00:00")) == utc("2026-11-25T06:00:00")
    assert announced.next_start(utc("2026-11-25T06:00:00")) is None


def test_window_matches_its_target() -> None:
    moment = utc("2026-11-25T06:10:00")
    now = Window("", time(6), "UTC", 30)
    found = open_windows(
        moment,
        [
            replace(now, broker_type="crypto", exchange_name="kraken", closed=True),
            replace(now, broker_type="mt5", host="mt5:demo"),
            replace(now, broker_type="ibkr", region="europe"),
            replace(now, minutes=20, note="all"),
        ],
    )
    assert [one.window.closed for one in found] == [True, False, False, False]
    kraken = window_for(WindowTarget("crypto", "kraken"), found)
    assert kraken is not None
    assert kraken.window.exchange_name == "kraken"
    others = (
        WindowTarget("crypto", "okx"),
        WindowTarget("mt5", host="mt5:live"),
        WindowTarget("ibkr"),
    )
    for other in others:
        one = window_for(other, found)
        assert one is not None
        assert one.window.note == "all"


@pytest.mark.parametrize(
    ("account", "moment", "closed"),
    [  # New York is five hours behind UTC in November; 20 November 2026 is a Friday
        (WindowTarget("ibkr"), "2026-11-19T05:30:00", False),
        (WindowTarget("ibkr", region="europe"), "2026-11-19T05:30:00", False),  # 06:30 in Zurich
        (WindowTarget("ibkr", region="europe"), "2026-11-19T05:10:00", None),
        (WindowTarget("ibkr", region="asia"), "2026-11-18T21:00:00", False),  # 05:00 in Hong Kong
        (WindowTarget("ibkr"), "2026-11-21T04:30:00", True),  # Friday 23:30
        (WindowTarget("ibkr", region="asia"), "2026-11-21T07:59:00", True),
        (WindowTarget("ibkr"), "2026-11-21T08:00:00", None),
        (WindowTarget("mt5"), "2026-11-19T22:00:00", True),  # Thursday 17:00: rollover
        (WindowTarget("mt4"), "2026-11-19T22:02:00", None),
        (WindowTarget("mt4"), "2026-11-21T12:00:00", False),  # weekend
        (WindowTarget("crypto", "binance"), "2026-11-21T04:30:00", None),
        (WindowTarget("paper"), "2026-11-21T04:30:00", None),
    ],
)
def test_published_windows(account: WindowTarget, moment: str, closed: bool | None) -> None:
    one = window_for(account, open_windows(utc(moment), BUILT_IN))
    assert (one.window.closed if one else None) is closed


def test_each_window_names_its_source() -> None:
    for window in BUILT_IN:
        assert window.broker_type in broker_types()
        assert window.source.startswith("https://")
        assert window.note
        ZoneInfo(window.zone)  # raises where there is none
    regions = {window.region for window in BUILT_IN if window.region}
    setting = next(one for one in FORM.settings if one.key == REGION)
    assert {value for value, _ in setting.choices} == regions
    assert setting.default == DEFAULT_REGION
