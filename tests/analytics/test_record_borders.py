"""A feed's record where two things meet: two runs, what is new and withheld, stored and sealed."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as D
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from analytics.models import FeedTrade
from analytics.records import computation as feed_records
from analytics.records import selectors as record_selectors
from analytics.records.figures import from_json as figures_from
from analytics.records.signal_result import from_json
from connections.models import DataConnection, Subscription
from connections.subscriptions.followers import followers_of
from prices.bars import KEPT
from signals.checks.late_publication import QUOTE_AGE, WRITTEN_BEFORE, fresh, marks_of
from signals.checks.price_guard import Reference
from signals.models import Feed, RecordLink, Signal
from signals.records.selectors import WITHHELD, _shown, sees_new
from tests.analytics.test_feed_records import START, T, bars, published
from tests.analytics.trading_days import INSTANT, stop_clock
from tests.connections import make

pytestmark = pytest.mark.django_db
MINUTE, NOTHING = timedelta(minutes=1), timedelta(0)


def flat(source: DataConnection) -> None:
    """Ten minutes in which nothing moves."""
    bars(source, *((n, "1.1", "1.1", "1.1", "1.1") for n in range(1, 11)))


def trade_after(feed: Feed, at: datetime) -> FeedTrade:
    """Compute the record at a time; return its trade."""
    stop_clock(at)
    feed_records.compute_feed(feed)
    return FeedTrade.objects.get(feed=feed)


@pytest.mark.parametrize(
    ("moved", "after_first"), [(-INSTANT, "0.5"), (NOTHING, "0.5"), (INSTANT, "1")]
)
def test_change_on_the_border_of_two_runs_counts_once(
    feed: Feed, source: DataConnection, moved: timedelta, after_first: str
) -> None:
    """The first run follows until 09:02:00, the second one goes on from there."""
    opened = published(feed, source)
    flat(source)
    closed_at = START + 2 * MINUTE + moved
    minutes = (closed_at - T) / MINUTE
    half = published(
        feed, source, minutes, action="CLOSE", refers_to=opened, close_fraction=D("0.5")
    )
    Signal.objects.filter(pk=half.pk).update(published_at=closed_at)
    first = trade_after(feed, T + 3 * MINUTE)
    assert (first.followed_until, from_json(first.progress).open) == (
        START + 2 * MINUTE, D(after_first),
    )  # fmt: skip
    for minutes in (5, 8):
        assert from_json(trade_after(feed, T + minutes * MINUTE).progress).open == D("0.5")


@pytest.mark.parametrize(("late", "state"), [(NOTHING, "OPEN"), (INSTANT, "UNKNOWN")])
def test_trade_is_followed_as_long_as_its_prices_are_kept(
    feed: Feed, source: DataConnection, late: timedelta, state: str
) -> None:
    published(feed, source)
    assert trade_after(feed, T + KEPT + late).state == state


@pytest.mark.parametrize(
    ("late", "is_fresh"), [(-INSTANT, True), (NOTHING, True), (INSTANT, False)]
)
def test_quote_is_of_the_moment_until_its_age(late: timedelta, is_fresh: bool) -> None:
    signal = Signal(published_at=T, market_at=T - QUOTE_AGE - late, market_bid=1, market_ask=2)
    assert feed_records.market_then(signal) == ((1, 2) if is_fresh else (None, None))
    market = Reference(D(1), D(2), T - QUOTE_AGE - late, "source")
    assert fresh(market, T) == (market if is_fresh else None)


@pytest.mark.parametrize(("late", "marks"), [(NOTHING, []), (INSTANT, ["WRITTEN_EARLIER"])])
def test_signal_is_marked_if_it_was_written_earlier_than_allowed(
    late: timedelta, marks: list[str]
) -> None:
    signal = Signal(action="OPEN", order_type="MARKET", direction="BUY", target_prices=[])
    assert marks_of(signal, None, written_at=T - WRITTEN_BEFORE - late, now=T) == marks
    signal.sent_at = T - WRITTEN_BEFORE - late
    assert marks_of(signal, None, written_at=T, now=T) == marks


def test_sealed_result_is_not_computed_again_without_its_row(
    feed: Feed, source: DataConnection
) -> None:
    opened = published(feed, source, sl=D("1.09"))
    bars(source, (1, "1.1", "1.1", "1.08", "1.08"))
    trade_after(feed, T + 5 * MINUTE)
    assert trade_after(feed, T + timedelta(days=3)).is_final
    assert RecordLink.objects.filter(signal=opened, kind="RESULT").exists()
    FeedTrade.objects.all().delete()
    record = feed_records.compute_feed(feed)
    assert not FeedTrade.objects.exists()
    assert figures_from(record.figures).closed == 0


@pytest.mark.parametrize(
    ("late", "state", "closed", "points"), [(-INSTANT, "OPEN", 0, 0), (NOTHING, "CLOSED", 1, 2)]
)
def test_end_of_a_trade_is_shown_to_others_after_exactly_a_day(
    feed: Feed, source: DataConnection, late: timedelta, state: str, closed: int, points: int
) -> None:
    opened = published(feed, source)
    flat(source)
    published(feed, source, 4, action="CLOSE", refers_to=opened)
    ended_at = trade_after(feed, T + 8 * MINUTE).ended_at
    assert ended_at is not None
    stop_clock(ended_at + WITHHELD + late)
    record = feed_records.compute_feed(feed)
    (shown,) = record_selectors.trades_of(feed, before=None, limit=5, with_new=False)
    assert (shown.state, figures_from(record.delayed).closed) == (state, closed)
    assert len(record_selectors.curve_of(feed, with_new=False)) == points
    assert len(record_selectors.curve_of(feed, with_new=True)) == 2
    delayed = record_selectors.record_of(feed, with_new=False)
    assert (delayed.until, delayed.figures.closed) == (ended_at + late, closed)
    assert record_selectors.record_of(feed, with_new=True).until == ended_at + WITHHELD + late


@pytest.mark.parametrize(("late", "number"), [(NOTHING, 0), (INSTANT, 1)])
def test_publication_is_shown_to_others_when_more_than_a_day_old(
    feed: Feed, source: DataConnection, late: timedelta, number: int
) -> None:
    published(feed, source)
    flat(source)
    trade_after(feed, T + WITHHELD + late)
    shown = record_selectors.trades_of(feed, before=None, limit=5, with_new=False)
    assert len(shown) == number


@pytest.mark.parametrize(
    ("age", "is_shown"), [(-INSTANT, False), (NOTHING, False), (INSTANT, True)]
)
def test_content_of_a_link_is_withheld_for_a_day(age: timedelta, is_shown: bool) -> None:
    row: Any = SimpleNamespace(
        number=1, hash="h", sealed_at=T - age, content="{}", kind="OPEN", signal_id=7,
        sealed_later=False, marks=["PRICE_MOVED"],
    )  # fmt: skip
    (link,) = _shown([row], T)
    expected = ("{}", "OPEN", 7, ["PRICE_MOVED"]) if is_shown else (None, None, None, [])
    assert (link.content, link.kind, link.signal, link.marks) == expected


def test_curve_is_by_days_of_utc_whatever_the_readers_zone_is(
    feed: Feed, source: DataConnection
) -> None:
    opened = published(feed, source)
    flat(source)
    published(feed, source, 4, action="CLOSE", refers_to=opened)
    trade_after(feed, T + 8 * MINUTE)
    for at, day in (("2026-03-01T23:59:59.999999Z", 1), ("2026-03-02T00:00:00Z", 2)):
        FeedTrade.objects.update(ended_at=datetime.fromisoformat(at))
        for zone in ("Asia/Tokyo", "America/New_York", "UTC"):
            with timezone.override(zone):
                *_, (last, _) = record_selectors.curve_of(feed, with_new=True)
            assert last == date(2026, 3, day), zone


def test_trades_published_at_one_time_are_paged_without_gap_or_repetition(
    feed: Feed, source: DataConnection
) -> None:
    expected = [published(feed, source).pk for _ in range(3)][::-1]
    flat(source)
    stop_clock(T + 5 * MINUTE)
    feed_records.compute_feed(feed)
    found: list[int] = []
    while page := record_selectors.trades_of(
        feed, before=found[-1] if found else None, limit=1, with_new=True
    ):
        found += [trade.pk for trade in page]
    assert found == expected


def test_former_follower_sees_nothing_new(feed: Feed) -> None:
    row = make.connection()
    made = make.subscription(row, feed)
    assert sees_new(feed, row.user)
    Subscription.objects.filter(pk=made.pk).update(archived_at=datetime.now(UTC))
    assert not sees_new(feed, row.user)


def test_followers_are_counted_at_the_borders_of_expiry_and_month(feed: Feed) -> None:
    now = datetime.fromisoformat("2026-03-15T12:00:00Z")
    month = datetime.fromisoformat("2026-03-01T00:00:00Z")
    for expires_at in (now - INSTANT, now, now + INSTANT, None):
        make.subscription(make.connection(), feed, expires_at=expires_at)
    for ended_at in (month - INSTANT, month):
        made = make.subscription(make.connection(), feed)
        Subscription.objects.filter(pk=made.pk).update(archived_at=ended_at)
    stop_clock(now)
    found = followers_of(feed.pk)
    assert (found.followers, found.active, found.paused) == (4, 2, 2)
    assert (found.ended, found.ended_this_month) == (2, 1)
