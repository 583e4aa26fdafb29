"""Minute bars, and what is calculated from them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from brokers.types import Quote
from connections.models import DataConnection
from prices.bars import bars_of
from prices.indicators import Candle, average_true_range, trend
from prices.models import PriceBar
from prices.selectors import candles, spread_percentiles
from prices.services import delete_old_bars, forget_quotes, store_quotes

NOON = datetime(2014, 5, 2, 12, tzinfo=UTC)


def quote(bid: str, seconds: float = 0, spread: str = "0.0002", symbol: str = "EUR/USD") -> Quote:
    return Quote(symbol, D(bid), D(bid) + D(spread), NOON + timedelta(seconds=seconds))


@pytest.fixture
def source(db: None) -> DataConnection:
    return DataConnection.objects.create(name="Recorded")


def bids(bar: PriceBar) -> list[D]:
    return [bar.bid_open, bar.bid_high, bar.bid_low, bar.bid_close]


def test_quotes_of_a_minute_become_one_bar() -> None:
    many = [quote("1.2", 0), quote("1.5", 1), quote("1.1", 2), quote("1.3", 59.999)]
    (bar,) = bars_of(many)
    assert bar.minute == NOON
    assert bar.bid == [D("1.2"), D("1.5"), D("1.1"), D("1.3")]
    assert bar.ask == [D("1.2002"), D("1.5002"), D("1.1002"), D("1.3002")]
    assert (bar.spread_sum, bar.count) == (D("0.0008"), 4)


def test_quote_at_the_full_minute_begins_the_next_bar() -> None:
    assert [bar.minute for bar in bars_of([quote("1.2", 59.9), quote("1.3", 60)])] == [
        NOON, NOON + timedelta(minutes=1),
    ]  # fmt: skip


def test_bars_are_sorted_so_that_two_writers_cannot_deadlock() -> None:
    many = [quote("1.2", 60), quote("1.2"), quote("1.2", symbol="AUD/USD")]
    assert [(bar.symbol, bar.minute.minute) for bar in bars_of(many)] == [
        ("AUD/USD", 0), ("EUR/USD", 0), ("EUR/USD", 1),
    ]  # fmt: skip


def test_batches_of_a_minute_are_added_up_in_one_statement(source: DataConnection) -> None:
    store_quotes(source.pk, [quote("1.2", 1), quote("1.4", 2)])
    with CaptureQueriesContext(connection) as captured:
        store_quotes(source.pk, [quote("1.1", 3, "0.0004"), quote("1.3", 4)])
    assert len([sent for sent in captured if "SAVEPOINT" not in sent["sql"]]) <= 1
    bar = PriceBar.objects.get()
    assert bids(bar) == [D("1.2"), D("1.4"), D("1.1"), D("1.3")]
    assert (bar.spread_sum, bar.quote_count) == (D("0.0010"), 4)
    assert (bar.first_at.second, bar.last_at.second) == (1, 4)


def test_late_batch_changes_neither_close_nor_a_later_open(source: DataConnection) -> None:
    store_quotes(source.pk, [quote("1.2", 30)])
    store_quotes(source.pk, [quote("1.5", 10), quote("1.1", 20)])
    assert bids(PriceBar.objects.get()) == [D("1.5"), D("1.5"), D("1.1"), D("1.2")]


def test_sources_and_symbols_have_bars_of_their_own(source: DataConnection) -> None:
    other = DataConnection.objects.create(name="Other")
    store_quotes(source.pk, [quote("1.2"), quote("0.6", symbol="NZD/USD")])
    store_quotes(other.pk, [quote("1.3")])
    stored = PriceBar.objects.order_by("id").values_list("data_connection", "symbol", "bid_close")
    assert set(stored) == {
        (source.pk, "EUR/USD", D("1.2")), (source.pk, "NZD/USD", D("0.6")),
        (other.pk, "EUR/USD", D("1.3")),
    }  # fmt: skip


def test_bars_are_deleted_after_a_week(source: DataConnection) -> None:
    store_quotes(source.pk, [quote("1.2"), quote("1.3", 60)])
    assert delete_old_bars(NOON + timedelta(days=7)) == 0
    assert delete_old_bars(NOON + timedelta(days=7, seconds=1)) == 1
    assert PriceBar.objects.get().minute == NOON + timedelta(minutes=1)


def test_restarted_replay_deletes_the_bars_of_its_next_session(source: DataConnection) -> None:
    store_quotes(source.pk, [quote("1.2"), quote("1.3", 60), quote("1.4", 120)])
    forget_quotes(source.pk, NOON + timedelta(seconds=90))
    assert [bar.minute for bar in PriceBar.objects.all()] == [NOON]
    forget_quotes(source.pk)
    assert not PriceBar.objects.exists()


def test_candles_are_complete_and_end_before_now(source: DataConnection) -> None:
    store_quotes(source.pk, [quote(f"1.{n:02}", n * 60) for n in range(10, 23)])
    key = (source.pk, "EUR/USD")
    found = candles([key, (source.pk, "NZD/USD")], minutes=5, now=NOON + timedelta(minutes=21))
    assert found == {
        key: [
            Candle(NOON + timedelta(minutes=10), D("1.14"), D("1.10"), D("1.14")),
            Candle(NOON + timedelta(minutes=15), D("1.19"), D("1.15"), D("1.19")),
        ]
    }
    one = candles([key], minutes=5, now=NOON + timedelta(minutes=21), count=1)
    assert [candle.start.minute for candle in one[key]] == [15]
    assert candles([], minutes=5, now=NOON) == {}


def a_candle(number: int, high: str, low: str, close: str) -> Candle:
    return Candle(NOON + timedelta(minutes=number), D(high), D(low), D(close))


def test_average_true_range_includes_gaps_between_candles() -> None:
    flat = [a_candle(n, "1.2", "1.1", "1.1") for n in range(15)]
    assert average_true_range(flat[:14]) is None
    assert average_true_range(flat) == D("0.1")
    gapped = [*flat[:-1], a_candle(15, "1.6", "1.5", "1.5")]  # from the close at 1.1 to 1.6
    assert average_true_range(gapped) == (D("0.1") * 13 + D("0.5")) / 14


def test_trend_is_the_move_in_average_true_ranges() -> None:
    rising = [a_candle(n, str(D(n + 2)), str(D(n + 1)), str(D(n + 2))) for n in range(15)]
    assert average_true_range(rising) == 1
    assert trend(rising) == 14
    still = [a_candle(n, "1", "1", "1") for n in range(15)]
    assert trend(still) is None
    assert trend(rising[1:]) is None


def test_spread_percentile_counts_minutes_that_were_not_wider(source: DataConnection) -> None:
    key = (source.pk, "EUR/USD")
    narrow = [quote("1.1", n * 60, "0.0001") for n in range(45)]
    wide = [quote("1.1", n * 60, "0.0003") for n in range(45, 60)]
    store_quotes(source.pk, [*narrow, *wide[:-1]])
    now = NOON + timedelta(minutes=60)
    assert spread_percentiles({key: D("0.0002")}, now=now) == {}  # 59 minutes
    store_quotes(source.pk, wide[-1:])
    for spread, expected in (("0.00009", 0), ("0.0001", 75), ("0.0002", 75), ("0.0003", 100)):
        assert spread_percentiles({key: D(spread)}, now=now) == {key: expected}
    assert spread_percentiles({}, now=now) == {}
    later = now + timedelta(hours=24)
    assert spread_percentiles({key: D(1)}, now=later) == {}
