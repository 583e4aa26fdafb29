"""Prices at their borders: a quote of exactly its age, a bar of exactly its minute, one time."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest

from brokers.types import Quote
from connections.models import DataConnection
from prices.bars import KEPT
from prices.models import LatestQuote, PriceBar
from prices.selectors import (
    CLOSED_MARKET,
    MIN_SPREAD_BARS,
    RECENT_BAR,
    average_prices,
    bar_at,
    candles,
    is_stale,
    latest,
    minute_bars,
    newest_quotes,
    quotes_by_day,
    spread_percentiles,
)
from prices.services import delete_old_bars, forget_quotes, store_latest, store_quotes

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 11, 12, tzinfo=UTC)
MINUTE, INSTANT, NOTHING = timedelta(minutes=1), timedelta(microseconds=1), timedelta(0)
PAIR = "EUR/USD"


@pytest.fixture
def source() -> DataConnection:
    return DataConnection.objects.create(name="Recorded")


def quote(at: datetime, bid: str = "1.1") -> Quote:
    return Quote(PAIR, D(bid), D(bid) + D("0.0002"), at)


def store(source: DataConnection, *moments: datetime) -> None:
    store_quotes(source.pk, [quote(at) for at in moments])


@pytest.mark.parametrize(("age", "is_old"), [(MINUTE, False), (MINUTE + INSTANT, True)])
def test_quote_of_exactly_its_age_is_not_stale(age: timedelta, is_old: bool) -> None:
    assert is_stale(quote(NOON - age), now=NOON, max_age=MINUTE) is is_old


@pytest.mark.parametrize(
    ("at", "is_found"),
    [
        (NOON + MINUTE - INSTANT, False),  # its minute is not over
        (NOON + MINUTE, True),
        (NOON + RECENT_BAR - INSTANT, True),
        (NOON + RECENT_BAR, False),  # no market of the moment any more
    ],
)
def test_minute_is_the_market_from_its_end_until_it_is_old(
    source: DataConnection, at: datetime, is_found: bool
) -> None:
    store(source, NOON)
    assert (bar_at(source.pk, PAIR, at) is not None) is is_found


Read = Callable[[int, datetime, datetime], int]


def _minutes(source: int, start: datetime, end: datetime) -> int:
    return len(minute_bars(source, PAIR, since=start, before=end))


def _averaged(source: int, start: datetime, end: datetime) -> int:
    found = average_prices(source, PAIR, start, end)
    return found.minutes if found else 0


@pytest.mark.parametrize(
    ("read", "start", "end", "number"),
    [
        (_minutes, NOON, NOON + MINUTE, 1),  # from the first minute until before the last
        (_minutes, NOON, NOON + MINUTE + INSTANT, 2),
        (_minutes, NOON + INSTANT, NOON + MINUTE, 0),
        (_averaged, NOON, NOON, 1),  # begun minutes count as a whole
        (_averaged, NOON + 59 * timedelta(seconds=1), NOON + MINUTE, 2),
        (_averaged, NOON - MINUTE, NOON - INSTANT, 0),
        (_averaged, NOON + 2 * MINUTE, NOON + 3 * MINUTE, 0),
    ],
)
def test_period_has_its_first_minute_and_its_last(
    source: DataConnection, read: Read, start: datetime, end: datetime, number: int
) -> None:
    store(source, NOON, NOON + MINUTE)
    assert read(source.pk, start, end) == number


@pytest.mark.parametrize(
    ("now", "number"),
    [
        (NOON + 5 * MINUTE - INSTANT, 0),
        (NOON + 5 * MINUTE, 1),
        (NOON + CLOSED_MARKET + 20 * MINUTE, 1),  # after a weekend
        (NOON + CLOSED_MARKET + 20 * MINUTE + INSTANT, 0),
    ],
)
def test_candle_is_complete_at_its_end(source: DataConnection, now: datetime, number: int) -> None:
    store(source, NOON)
    found = candles([(source.pk, PAIR)], minutes=5, now=now, count=3)
    assert len(found.get((source.pk, PAIR), [])) == number


@pytest.mark.parametrize(
    ("minutes", "now", "is_known"),
    [
        (MIN_SPREAD_BARS, NOON + 59 * MINUTE, True),
        (MIN_SPREAD_BARS - 1, NOON + 59 * MINUTE, False),
        (MIN_SPREAD_BARS, NOON + timedelta(hours=24), True),
        (MIN_SPREAD_BARS, NOON + timedelta(hours=24) + INSTANT, False),  # the first one is old
        (MIN_SPREAD_BARS, NOON + 58 * MINUTE, False),  # the last one is to come
    ],
)
def test_spread_is_ranked_among_an_hour_of_the_last_day(
    source: DataConnection, minutes: int, now: datetime, is_known: bool
) -> None:
    store(source, *(NOON + n * MINUTE for n in range(minutes)))
    found = spread_percentiles({(source.pk, PAIR): D("0.0002")}, now=now)
    assert bool(found) is is_known


@pytest.mark.parametrize(
    ("ago", "seconds", "is_found"),
    [
        (timedelta(days=1), 60, True),
        (timedelta(days=1) + MINUTE, 60, False),
        (timedelta(days=1) - MINUTE, 60, False),
        (timedelta(days=1) - MINUTE, 61, True),
        (timedelta(days=7), 60, True),
        (timedelta(days=8), 60, False),
    ],
)
def test_quotes_of_earlier_days_are_of_the_same_minutes(
    source: DataConnection, ago: timedelta, seconds: int, is_found: bool
) -> None:
    store(source, NOON - ago)
    found = quotes_by_day([(source.pk, PAIR, seconds)], now=NOON)
    assert bool(found) is is_found


@pytest.mark.parametrize("keep", [store_quotes, store_latest])
@pytest.mark.parametrize(("moved", "bid"), [(-INSTANT, "1.1"), (NOTHING, "1.2"), (INSTANT, "1.2")])
def test_quote_of_the_same_time_replaces_and_an_older_one_does_not(
    source: DataConnection, keep: Callable[..., object], moved: timedelta, bid: str
) -> None:
    store(source, NOON)
    keep(source.pk, [quote(NOON + moved, "1.2")])
    assert latest(source.pk)[PAIR].bid == D(bid)


def test_quotes_of_one_time_open_with_the_first_and_close_with_the_last(
    source: DataConnection,
) -> None:
    for bid in ("1.1", "1.2", "1.3"):
        store_quotes(source.pk, [quote(NOON, bid)])
    bar = PriceBar.objects.get()
    assert (bar.bid_open, bar.bid_close) == (D("1.1"), D("1.3"))
    assert (bar.ask_open, bar.ask_close) == (D("1.1002"), D("1.3002"))
    assert (bar.first_at, bar.last_at, bar.quote_count) == (NOON, NOON, 3)


def test_newest_quote_of_several_sources_is_that_received_last() -> None:
    """Received, not dated: sources have clocks of their own. What came before does not count."""
    first, second, third = (DataConnection.objects.create(name=f"s{n}") for n in range(3))
    for source, bid, dated, received in (
        (first, "1.1", NOON + MINUTE, NOON - INSTANT),
        (second, "1.2", NOON - MINUTE, NOON),
        (third, "1.3", NOON - MINUTE, NOON - MINUTE),
    ):
        store_quotes(source.pk, [quote(dated, bid)])
        LatestQuote.objects.filter(data_connection=source).update(received_at=received)

    def found(since: datetime) -> D | None:
        newest = newest_quotes([first.pk, second.pk, third.pk], [PAIR], received_since=since)
        return newest[PAIR].bid if newest else None

    assert [found(NOON - MINUTE), found(NOON), found(NOON + INSTANT)] == [D("1.2"), D("1.2"), None]
    assert newest_quotes([third.pk], [PAIR], received_since=NOON) == {}


def test_bars_are_kept_for_exactly_a_week_and_deleted_from_a_minute_on(
    source: DataConnection,
) -> None:
    store(source, NOON - MINUTE, NOON, NOON + MINUTE)
    assert delete_old_bars(NOON + KEPT) == 1
    forget_quotes(source.pk, since=NOON + MINUTE + timedelta(seconds=30))
    assert [bar.minute for bar in PriceBar.objects.all()] == [NOON]
