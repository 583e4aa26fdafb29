"""Trading sessions and market hours, on both sides of each edge."""

from datetime import UTC, datetime

import pytest

from connections.market_hours import is_market_open
from connections.trading_sessions import is_open, outside, read_sessions, spans

# 2026-11-20 is a Friday. Berlin is one hour ahead of UTC then, New York five behind.
FRIDAY = "2026-11-20T{}:00Z"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def test_sessions_are_read_into_one_spelling_each_once() -> None:
    written = [" mon-fri  8:00-16:30", "MON - FRI 08:00 - 16:30", "sun-sun 22:00-24:00"]
    assert read_sessions(written) == (["MON-FRI 08:00-16:30", "SUN 22:00-24:00"], [])


@pytest.mark.parametrize(
    "text",
    ["", "MON", "08:00-16:30", "MON 8-16", "MON 08:00-08:00", "MON 24:00-08:00", "MON 08:60-09:00",
     "MON 08:00-24:01", "MOO 08:00-16:30", "MON 08:00-16:30 UTC", "MON ٠٨:00-16:30"],
)  # fmt: skip
def test_text_that_is_no_session_is_an_error(text: str) -> None:
    sessions, (error,) = read_sessions([text])
    assert sessions == []
    assert "Write MON-FRI 08:00-16:30" in error


@pytest.mark.parametrize(
    ("session", "time", "open_"),
    [
        ("MON-FRI 08:00-16:30", "07:59", False),
        ("MON-FRI 08:00-16:30", "08:00", True),
        ("MON-FRI 08:00-16:30", "16:29", True),
        ("MON-FRI 08:00-16:30", "16:30", False),
        ("MON-THU 08:00-16:30", "08:00", False),
        ("THU 22:00-02:00", "01:59", True),  # it goes on after midnight
        ("THU 22:00-02:00", "02:00", False),
        ("THU 22:00-00:00", "00:00", False),
        ("SAT-FRI 08:00-09:00", "08:00", True),  # all days
    ],
)
def test_start_belongs_to_a_session_and_its_end_does_not(
    session: str, time: str, open_: bool
) -> None:
    assert is_open([session], at(FRIDAY.format(time)), "UTC") is open_


def test_session_after_sunday_goes_on_on_monday() -> None:
    assert spans(["SUN 22:00-02:00"]) == [(0, 120), (6 * 1440 + 1320, 7 * 1440)]


def test_sessions_are_in_their_zone_and_none_is_always_open() -> None:
    assert is_open(["FRI 09:00-10:00"], at(FRIDAY.format("08:00")), "Europe/Berlin")
    assert not is_open(["FRI 09:00-10:00"], at(FRIDAY.format("09:00")), "Europe/Berlin")
    assert is_open([], at(FRIDAY.format("08:00")), "UTC")


@pytest.mark.parametrize(
    ("inner", "outer", "beyond"),
    [
        (["MON 09:00-10:00"], [], []),
        (["MON 09:00-10:00"], ["MON-FRI 09:00-10:00"], []),
        (["MON 09:00-10:00"], ["MON 08:00-09:30", "MON 09:30-10:00"], []),  # they touch
        (["MON 09:00-10:01"], ["MON 08:00-09:30", "MON 09:30-10:00"], ["MON 09:00-10:01"]),
        (["MON-SAT 09:00-10:00"], ["MON-FRI 09:00-10:00"], ["MON-SAT 09:00-10:00"]),
    ],
)
def test_session_outside_of_others_is_found(
    inner: list[str], outer: list[str], beyond: list[str]
) -> None:
    assert outside(inner, outer) == beyond


@pytest.mark.parametrize(
    ("pair", "time", "open_"),
    [
        ("EUR/USD", "2026-11-20T21:59:00Z", True),  # Friday 16:59 in New York
        ("EUR/USD", "2026-11-20T22:00:00Z", False),
        ("XAU/USD", "2026-11-22T21:59:00Z", False),
        ("XAU/USD", "2026-11-22T22:00:00Z", True),  # Sunday 17:00
        ("EUR/USD", "2026-07-17T20:59:00Z", True),  # in summer an hour earlier by UTC
        ("EUR/USD", "2026-07-17T21:00:00Z", False),
        ("BTC/USDT", "2026-11-21T12:00:00Z", True),
        ("AAPL/USD", "2026-11-21T12:00:00Z", True),  # its exchange's hours are not known
    ],
)
def test_currencies_and_metals_are_closed_at_the_weekend(pair: str, time: str, open_: bool) -> None:
    assert is_market_open(pair, at(time)) is open_
