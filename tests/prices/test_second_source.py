"""A source's fallback is asked about suspect quotes, by what it stored after them."""

from datetime import timedelta
from decimal import Decimal as D

import pytest
from django.db.models import F

from brokers.types import Quote
from common.clocks import market_now
from connections.models import DataConnection, SourceHealth
from connections.services import set_fallback
from prices import held_back, pushed_feeds, second_source, side_feeds
from prices.models import LatestQuote
from prices.services import store_quotes
from tests.prices.test_pushed_feeds import PAIR, Clock, bid_of, opened, push, step

pytestmark = pytest.mark.django_db


class Two:
    """A source that quotes are pushed to, and its fallback, whose quotes a test stores."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        settings = {"symbols": [PAIR]}
        create = DataConnection.objects.create
        self.own = create(name="Ours", kind="push", settings=settings)
        self.other = create(name="Backup", kind="push", settings=settings)
        set_fallback(self.own.pk, self.other.pk, by=None)
        self.manager = opened(self.own)
        push(self.own, "1.1", "1.1001")
        self.look()
        assert bid_of(self.own) == D("1.1001")

    def other_quotes(self, bid: str) -> None:
        store_quotes(self.other.pk, [Quote(PAIR, D(bid), D(bid) + D("0.0002"), market_now())])

    def look(self) -> None:
        self.clock.seconds += second_source.ASK_EVERY
        step(self.manager)


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Two:
    clock = Clock()
    for module in (pushed_feeds, side_feeds, second_source, held_back):
        monkeypatch.setattr(module, "machine_time", lambda: clock.seconds)
    return Two(clock)


def test_gap_that_the_fallback_has_too_counts_with_its_first_quote(two: Two) -> None:
    push(two.own, "0.99")
    two.look()
    assert bid_of(two.own) == D("1.1001")
    two.other_quotes("0.9905")
    two.look()
    assert bid_of(two.own) == D("0.99")


def shown(two: Two) -> tuple[list[str], bool]:
    """Return the suspect pairs of a source's status, and whether it states since when."""
    health = SourceHealth.objects.get(source=two.own)
    return health.suspects, health.suspect_since is not None


def test_silence_confirms_no_quote_that_the_fallback_denies(two: Two) -> None:
    push(two.own, "0.55")
    two.look()
    two.other_quotes("1.1003")
    for _ in range(20):
        two.look()
    assert bid_of(two.own) == D("1.1001")
    two.manager.maintain()
    assert shown(two) == ([PAIR], True)
    push(two.own, "1.1002")
    two.look()
    two.manager.maintain()
    assert shown(two) == ([], False)
    assert bid_of(two.own) == D("1.1002")


def test_what_the_fallback_quoted_before_says_nothing(two: Two) -> None:
    two.other_quotes("1.1003")
    LatestQuote.objects.filter(data_connection=two.other).update(
        received_at=F("received_at") - timedelta(seconds=5)
    )
    push(two.own, "0.99")
    for _ in range(7):
        two.look()
    assert bid_of(two.own) == D("0.99"), "silence confirms it after a second"


def test_prices_that_the_fallback_has_from_another_source_say_nothing(two: Two) -> None:
    push(two.own, "0.99")
    two.look()
    two.other_quotes("1.1003")
    LatestQuote.objects.filter(data_connection=two.other).update(from_fallback=True)
    for _ in range(7):
        two.look()
    assert bid_of(two.own) == D("0.99")
