"""A source's fallback is asked about suspect quotes, by what it stored after them."""

from datetime import timedelta
from decimal import Decimal as D

import pytest
from django.db.models import F

from brokers.types import Quote
from common.clocks import market_now
from connections.models import DataConnection, SourceHealth
from connections.services import set_fallback
from prices import held_back, pushed_feeds, pushed_reader, second_source, side_feeds
from prices.held_back import DENIAL_SECONDS, HOLD_SECONDS
from prices.models import LatestQuote
from prices.services import store_quotes
from prices.usual_offsets import MIN_MINUTES
from tests.prices.test_pushed_feeds import PAIR, Clock, bid_of, opened, push, step
from tests.stopped_clock import StoppedClock

pytestmark = pytest.mark.django_db


class Two:
    """A source that quotes are pushed to, and its fallback, whose quotes a test stores."""

    def __init__(self, clock: Clock, dates: StoppedClock) -> None:
        self.clock, self.dates = clock, dates
        settings = {"symbols": [PAIR]}
        create = DataConnection.objects.create
        self.own = create(name="Ours", kind="push", settings=settings)
        self.other = create(name="Backup", kind="push", settings=settings)
        set_fallback(self.own.pk, self.other.pk, by=None)
        self.manager = opened(self.own)
        push(self.own, "1.1")
        push(self.own, "1.1001", seconds=0.1)
        self.look()
        assert bid_of(self.own) == D("1.1001")

    def quoted(self, own: str, other: str) -> None:
        """Have both quoted these prices in the minutes before this one."""
        for minutes in range(1, MIN_MINUTES + 1):
            for source, bid in ((self.own, own), (self.other, other)):
                self.store(source, bid, timedelta(minutes=minutes))

    def store(self, source: DataConnection, bid: str, ago: timedelta = timedelta()) -> None:
        at = market_now() - ago
        store_quotes(source.pk, [Quote(PAIR, D(bid), D(bid) + D("0.0002"), at)])

    def other_quotes(self, bid: str) -> None:
        """Store a quote that is later than the suspect one."""
        self.passes(0.01)
        self.store(self.other, bid)

    def look(self, seconds: float = second_source.ASK_EVERY) -> None:
        self.passes(seconds)
        step(self.manager)

    def passes(self, seconds: float) -> None:
        self.clock.seconds += seconds
        self.dates.pass_time(seconds)

    def looks(self, seconds: float) -> None:
        for _ in range(round(seconds / second_source.ASK_EVERY)):
            self.look()


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch, stopped_clock: StoppedClock) -> Two:
    clock = Clock()
    for module in (pushed_feeds, pushed_reader, side_feeds, second_source, held_back):
        monkeypatch.setattr(module, "machine_time", lambda: clock.seconds)
    return Two(clock, stopped_clock)


def test_gap_that_the_fallback_has_too_counts_with_its_first_quote(two: Two) -> None:
    two.quoted("1.1", "1.1")
    push(two.own, "0.99")
    two.look()
    assert bid_of(two.own) == D("1.1001")
    two.other_quotes("0.9905")
    two.look()
    assert bid_of(two.own) == D("0.99")


def test_silence_confirms_no_quote_that_the_fallback_denies(two: Two) -> None:
    two.quoted("1.1", "1.1")
    push(two.own, "0.55")
    two.look()
    for _ in range(20):
        two.other_quotes("1.1003")
        two.look()
    assert bid_of(two.own) == D("1.1001")
    two.manager.maintain()
    shown = SourceHealth.objects.get(source=two.own)
    assert (shown.suspects, shown.suspect_since is not None) == ([PAIR], True)
    push(two.own, "1.1002")
    two.look()
    two.manager.maintain()
    shown.refresh_from_db()
    assert (shown.suspects, shown.suspect_since) == ([], None)
    assert bid_of(two.own) == D("1.1002")


# ---- two sources never quote the same price ----------------------------------------------------
def test_fallback_that_has_not_moved_denies(two: Two) -> None:
    """Its price is by chance near that of the bad tick."""
    two.quoted("1.1", "1.08")
    push(two.own, "1.0774")
    for _ in range(20):
        two.look()
        two.other_quotes("1.0801")
    assert bid_of(two.own) == D("1.1001")


def test_fallback_that_always_quotes_more_confirms_a_gap(two: Two) -> None:
    two.quoted("1.1", "1.12")
    push(two.own, "1.0774")
    two.look()
    two.other_quotes("1.0975")
    two.look()
    assert bid_of(two.own) == D("1.0774")


def test_fallback_without_a_known_distance_says_nothing(two: Two) -> None:
    push(two.own, "0.99")
    two.look()
    two.other_quotes("0.9905")
    two.look()
    assert bid_of(two.own) == D("1.1001"), "it confirms nothing"
    two.other_quotes("1.1003")
    two.looks(HOLD_SECONDS)
    assert bid_of(two.own) == D("0.99"), "and it denies nothing"


def test_fallback_that_quotes_another_thing_says_nothing(two: Two) -> None:
    two.quoted("1.1", "0.9")
    push(two.own, "0.99")
    two.look()
    two.other_quotes("0.79")
    two.look()
    assert bid_of(two.own) == D("1.1001")


# ---- a denial is no end ------------------------------------------------------------------------
def test_what_the_fallback_quoted_before_says_nothing(two: Two) -> None:
    two.quoted("1.1", "1.1")
    two.other_quotes("1.1003")
    LatestQuote.objects.filter(data_connection=two.other).update(
        received_at=F("received_at") - timedelta(seconds=5)
    )
    push(two.own, "0.99")
    two.looks(HOLD_SECONDS + 0.4)
    assert bid_of(two.own) == D("0.99"), "silence confirms it after a second"


def test_prices_that_the_fallback_has_from_another_source_say_nothing(two: Two) -> None:
    two.quoted("1.1", "1.1")
    push(two.own, "0.99")
    two.look()
    two.other_quotes("1.1003")
    LatestQuote.objects.filter(data_connection=two.other).update(from_fallback=True)
    two.looks(HOLD_SECONDS + 0.4)
    assert bid_of(two.own) == D("0.99")


def test_fallback_that_falls_silent_denies_no_longer(two: Two) -> None:
    """Its last quote of before the gap came after it."""
    two.quoted("1.1", "1.1")
    push(two.own, "0.99")
    two.look()
    two.other_quotes("1.1003")
    two.looks(HOLD_SECONDS + 0.4)
    assert bid_of(two.own) == D("1.1001")
    two.looks(second_source.RECENT.total_seconds())
    assert bid_of(two.own) == D("0.99")


def test_fallback_that_is_taken_away_denies_no_longer(two: Two) -> None:
    two.quoted("1.1", "1.1")
    push(two.own, "0.99")
    two.look()
    for _ in range(10):
        two.other_quotes("1.1003")
        two.look()
    assert bid_of(two.own) == D("1.1001")
    set_fallback(two.own.pk, None, by=None)
    two.manager.maintain()
    two.other_quotes("1.1003")
    two.looks(DENIAL_SECONDS + 0.2)
    assert bid_of(two.own) == D("0.99")


def test_gap_after_which_the_market_stands_still_counts(two: Two) -> None:
    """The program pushes the same price each second, as it is asked to."""
    two.quoted("1.1", "1.1")
    push(two.own, "0.99")
    for _ in range(4):
        for _ in range(5):
            two.other_quotes("1.1003")
            two.look()
        push(two.own, "0.99")
    two.look()
    assert bid_of(two.own) == D("0.99")
