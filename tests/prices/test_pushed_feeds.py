"""Pushed quotes on their way from the table to the monitors, judged like those of brokers."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest
from django.db.models import F

from brokers.types import Quote
from common.clocks import market_now
from common.reason_codes import Code
from connections.models import DataConnection, SourceHealth
from prices import pushed_feeds, pushed_reader, side_feeds
from prices.held_back import HOLD_SECONDS
from prices.models import PushedQuote
from prices.pushed_feeds import PushedStream
from prices.pushed_quotes import push_quotes
from prices.quote_intake import CONFIRMATION_SECONDS
from prices.selectors import latest
from prices.side_feeds import SideFeedManager
from tests.prices.sources import received_batches
from tests.stopped_clock import StoppedClock

__all__ = ["received_batches"]
pytestmark = pytest.mark.django_db
PAIR = "EUR/USD"


class Clock:
    seconds = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (pushed_feeds, pushed_reader, side_feeds):
        monkeypatch.setattr(module, "machine_time", lambda: made.seconds)
    return made


@pytest.fixture
def pushed(clock: Clock) -> DataConnection:
    return DataConnection.objects.create(name="Ours", kind="push", settings={"symbols": [PAIR]})


def push(source: DataConnection, *bids: str, seconds: float = 0) -> None:
    rows = [
        {
            "symbol": PAIR, "bid": bid, "ask": str(D(bid) + D("0.0002")),
            "time": (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(),
        }
        for bid in bids
    ]  # fmt: skip
    found = push_quotes(source.pk, rows, by=None)
    assert found.accepted == len(bids), found.refused


def opened(source: DataConnection) -> SideFeedManager:
    manager = SideFeedManager("prices")
    manager.maintain()
    return manager


def step(manager: SideFeedManager) -> int:
    return sum(feed.step(market_now()) for feed in manager.feeds)


def bid_of(source: DataConnection) -> D | None:
    quotes = latest(source.pk)
    return quotes[PAIR].bid if quotes else None


def test_pushed_quotes_are_published_once(
    pushed: DataConnection, received_batches: list[list[Quote]]
) -> None:
    manager = opened(pushed)
    push(pushed, "1.1", "1.1001")
    assert step(manager) == 2
    assert [[quote.bid for quote in batch] for batch in received_batches if batch] == [
        [D("1.1"), D("1.1001")]
    ]
    assert bid_of(pushed) == D("1.1001")
    assert not PushedQuote.objects.exists()
    assert step(manager) == 0


def test_lone_bad_tick_that_is_pushed_counts_for_nothing(
    pushed: DataConnection, clock: Clock
) -> None:
    manager = opened(pushed)
    push(pushed, "1.1", "1.1001", "0.55")
    assert step(manager) == 2
    push(pushed, "1.1002")
    step(manager)
    clock.seconds += HOLD_SECONDS
    step(manager)
    assert bid_of(pushed) == D("1.1002")


def test_pushed_gap_acts_with_its_second_quote(pushed: DataConnection) -> None:
    manager = opened(pushed)
    push(pushed, "1.1", "1.1001", "0.99")
    step(manager)
    assert bid_of(pushed) == D("1.1001")
    push(pushed, "0.9901")
    assert step(manager) == 2
    assert bid_of(pushed) == D("0.9901")


def test_quotes_that_were_not_published_are_read_by_the_next_process(
    pushed: DataConnection,
) -> None:
    push(pushed, "1.1", "1.1001")
    stream = PushedStream(pushed.pk, [PAIR])
    assert len(stream.due(market_now())) == 2, "and this process dies"
    again = opened(pushed)
    assert step(again) == 2


def test_first_quote_of_a_new_process_is_compared_with_the_stored_one(
    pushed: DataConnection,
) -> None:
    first = opened(pushed)
    push(pushed, "1.1", "1.1001")
    step(first)
    second = opened(pushed)
    push(pushed, "0.55")
    assert step(second) == 0
    assert bid_of(pushed) == D("1.1001")


def test_quotes_unread_for_long_are_no_prices(pushed: DataConnection) -> None:
    push(pushed, "1.1", "1.1001")
    PushedQuote.objects.update(time=datetime.now(UTC) - timedelta(seconds=61))
    manager = opened(pushed)
    assert step(manager) == 0
    assert not PushedQuote.objects.exists()


def test_old_quote_is_no_current_price(pushed: DataConnection) -> None:
    """It may still reach levels, like a late quote of a broker."""
    push(pushed, "1.1", "1.1001")
    PushedQuote.objects.update(time=F("time") - timedelta(seconds=8))
    manager = opened(pushed)
    assert step(manager) == 2
    assert bid_of(pushed) is None


def test_slow_look_lets_no_time_go_back(
    pushed: DataConnection, stopped_clock: StoppedClock
) -> None:
    """A step begins long before the table answers: its quotes look older than they are."""
    manager = opened(pushed)
    push(pushed, "1.1")
    push(pushed, "1.1001", seconds=0.01)
    step(manager)
    before = market_now()
    stopped_clock.pass_time(0.1)
    push(pushed, "1.1002")
    stopped_clock.pass_time(2)
    for feed in manager.feeds:
        feed.step(before)
    assert bid_of(pushed) == D("1.1002")


def test_status_states_that_nothing_is_pushed(
    pushed: DataConnection, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = opened(pushed)
    health = SourceHealth.objects.get(source=pushed)
    assert (health.error_code, health.pairs) == ("", [PAIR])
    push(pushed, "1.1", "1.1001")
    step(manager)
    manager.maintain()
    health.refresh_from_db()
    assert health.last_contact_at is not None
    assert health.missing == []
    clock.seconds += CONFIRMATION_SECONDS + 1
    monkeypatch.setattr(pushed_feeds, "is_market_open", lambda pair, at: True)
    manager.maintain()
    health.refresh_from_db()
    assert health.error_code == Code.QUOTE_MISSING
    assert health.missing == [PAIR]


def test_source_that_is_switched_off_is_closed(pushed: DataConnection) -> None:
    manager = opened(pushed)
    assert len(manager.feeds) == 1
    DataConnection.objects.update(is_active=False)
    manager.maintain()
    assert manager.feeds == []


def test_quote_that_another_process_has_decided_about_is_dropped(
    pushed: DataConnection, clock: Clock
) -> None:
    """It saw the next quote, which denies this one, and deleted both."""
    first = opened(pushed)
    push(pushed, "1.1", "1.1001")
    assert step(first) == 2
    second = opened(pushed)
    push(pushed, "0.5500")
    assert (step(first), step(second)) == (0, 0)
    push(pushed, "1.1002")
    assert step(second) == 1
    clock.seconds += HOLD_SECONDS
    assert step(first) == 0
    assert bid_of(pushed) == D("1.1002")


def test_times_of_before_the_clock_was_set_back_are_forgotten(
    pushed: DataConnection, clock: Clock
) -> None:
    stream = PushedStream(pushed.pk, [PAIR])
    future, now = market_now() + timedelta(hours=1), market_now()
    of_then = Quote(PAIR, D("1.1"), D("1.1002"), future)
    of_now = Quote(PAIR, D("1.1001"), D("1.1003"), now - timedelta(seconds=1))
    assert stream._in_order([of_then], future)[0].time == future
    assert stream._in_order([of_now], now)[0].time == of_now.time


def test_times_never_go_back(pushed: DataConnection, clock: Clock) -> None:
    """A quote that a second source confirms is of a moment later than the look that reads on."""
    stream, now = PushedStream(pushed.pk, [PAIR]), market_now()
    confirmed = Quote(PAIR, D("1.1"), D("1.1002"), now + timedelta(milliseconds=8))
    late = Quote(PAIR, D("1.1001"), D("1.1003"), now - timedelta(seconds=0.1))
    assert stream._in_order([confirmed, late], now)[1].time == confirmed.time
    assert stream._in_order([late], now)[0].time == confirmed.time
