"""The state of a symbol's market as pages and the API show it: open, closed, not known."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from brokers.trading_hours import StoredHours
from connections.market_hours import HoursSource, MarketState, market_state

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)  # a Wednesday
FRIDAY = datetime(2026, 11, 27, 22, tzinfo=UTC)  # 17:00 in New York
SUNDAY = datetime(2026, 11, 29, 22, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def hours(*spans: tuple[int, int], known: tuple[int, int] = (-24, 24)) -> StoredHours:
    """Return hours. spans, known: in hours from NOON."""

    def at(hour: int) -> int:
        return int((NOON + timedelta(hours=hour)).timestamp())

    return {
        "known": [[at(known[0]), at(known[1])]],
        "open": [[at(start), at(end)] for start, end in spans],
    }


def after(count: int) -> datetime:
    return NOON + timedelta(hours=count)


@pytest.mark.parametrize(
    ("pair", "at", "expected"),
    [
        ("EUR/USD", FRIDAY - SECOND, MarketState(True, HoursSource.WEEK, closes_at=FRIDAY)),
        ("EUR/USD", FRIDAY, MarketState(False, HoursSource.WEEK, opens_at=SUNDAY)),
        ("XAU/USD", SUNDAY - SECOND, MarketState(False, HoursSource.WEEK, opens_at=SUNDAY)),
        ("XAU/USD", SUNDAY, MarketState(True, HoursSource.WEEK,
                                        closes_at=FRIDAY + timedelta(days=7))),
        ("BTC/USDT", SUNDAY, MarketState(True, HoursSource.ALWAYS)),
        ("AAPL/USD", NOON, MarketState(None, HoursSource.UNKNOWN)),
    ],
)  # fmt: skip
def test_state_without_hours_is_that_of_the_asset_class(
    pair: str, at: datetime, expected: MarketState
) -> None:
    assert market_state(pair, "", None, at) == expected


def test_week_follows_the_clock_of_new_york_in_summer() -> None:
    summer = datetime(2026, 7, 1, 12, tzinfo=UTC)
    closes = market_state("EUR/USD", "", None, summer).closes_at
    assert closes == datetime(2026, 7, 3, 21, tzinfo=UTC)


@pytest.mark.parametrize(
    ("spans", "known", "expected"),
    [
        ([(-2, 3)], (-24, 24), (True, None, 3, 24)),
        ([(-2, 0), (4, 6)], (-24, 24), (False, 4, None, 24)),  # its end does not belong to it
        ([(0, 6)], (-24, 24), (True, None, 6, 24)),
        ([(-2, 24)], (-24, 24), (True, None, None, 24)),  # it may go on after what is known
        ([], (-24, 24), (False, None, None, 24)),
        ([(-20, -10)], (-24, -1), (None, None, None, -1)),  # could not be renewed
        ([(5, 6)], (4, 24), (None, None, None, None)),  # a day without data
    ],
)
def test_state_by_the_hours_of_the_instrument(
    spans: list[tuple[int, int]], known: tuple[int, int], expected: tuple[Any, ...]
) -> None:
    is_open, *times = expected
    opens, closes, until = (None if one is None else after(one) for one in times)
    for calendar, source in (("XNYS", HoursSource.EXCHANGE), ("", HoursSource.BROKER)):
        state = market_state("AAPL/USD", calendar, hours(*spans, known=known), NOON)
        assert state == MarketState(is_open, source, opens, closes, until, calendar)


def test_currency_with_hours_keeps_its_week() -> None:
    always: StoredHours = {"known": [[0, 2**33]], "open": [[0, 2**33]]}
    assert market_state("EUR/USD", "", always, FRIDAY).opens_at == SUNDAY
    assert market_state("EUR/USD", "", always, FRIDAY - SECOND).closes_at == FRIDAY
    earlier = market_state("EUR/USD", "", hours((-2, 3)), NOON)
    assert (earlier.source, earlier.closes_at) == (HoursSource.BROKER, after(3))
    unknown = market_state("EUR/USD", "", hours(known=(-24, -1)), NOON)
    assert (unknown.is_open, unknown.source) == (True, HoursSource.WEEK)


def test_each_source_has_words() -> None:
    texts = {MarketState(None, source, calendar="XNYS").source_text for source in HoursSource}
    assert len(texts) == len(HoursSource)
    assert "calendar of XNYS" in texts
