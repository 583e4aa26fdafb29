"""A source that comes back while a fallback stands in for it."""

from datetime import timedelta
from decimal import Decimal as D

import pytest
from django.db import OperationalError

from brokers.types import Quote
from common.clocks import market_now
from connections.models import DataConnection
from prices import pushed_feeds, returning, side_feeds
from prices.models import LatestQuote
from prices.returning import KNOWN_FOR, ReturningQuotes
from prices.selectors import latest
from prices.services import store_fallback_quotes, store_quotes
from prices.side_feeds import SideFeedManager
from tests.prices.sources import received_batches
from tests.prices.test_pushed_feeds import push, step

__all__ = ["received_batches"]
pytestmark = pytest.mark.django_db
PAIR = "EUR/USD"


class Clock:
    seconds = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (pushed_feeds, side_feeds, returning):
        monkeypatch.setattr(module, "machine_time", lambda: made.seconds)
    return made


@pytest.fixture
def source(clock: Clock) -> DataConnection:
    """A pushed source that has quoted 1.1000."""
    made = DataConnection.objects.create(name="Ours", kind="push", settings={"symbols": [PAIR]})
    store_quotes(made.pk, [Quote(PAIR, D("1.1000"), D("1.1002"), market_now())])
    return made


@pytest.fixture
def manager(source: DataConnection) -> SideFeedManager:
    made = SideFeedManager("prices")
    made.maintain()
    return made


def stood_in(source: DataConnection, bid: str) -> None:
    """A fallback has moved the source's price."""
    row = LatestQuote.objects.get(data_connection=source)
    quote = Quote(PAIR, D(bid), D(bid) + D("0.0002"), market_now())
    assert store_fallback_quotes(source.pk, [(quote, row.received_at)])


def bid_of(source: DataConnection) -> D:
    return latest(source.pk)[PAIR].bid


def test_frozen_price_of_before_fires_nothing(
    source: DataConnection,
    manager: SideFeedManager,
    clock: Clock,
    received_batches: list[list[Quote]],
) -> None:
    """A short that was opened at 1.0700 has its stop between both prices."""
    stood_in(source, "1.0700")
    for _ in range(3):  # it is sent again, and silence does not confirm it
        push(source, "1.1000")
        clock.seconds += 5
        assert step(manager) == 0
    assert bid_of(source) == D("1.0700")
    assert received_batches == []
    push(source, "1.1001")
    assert step(manager) == 1
    assert bid_of(source) == D("1.1001"), "a second statement of its own"


def test_price_near_the_fallbacks_counts_at_once(
    source: DataConnection, manager: SideFeedManager
) -> None:
    stood_in(source, "1.1010")
    push(source, "1.1012")
    assert step(manager) == 1
    assert bid_of(source) == D("1.1012")


def test_true_price_after_a_frozen_one_counts(
    source: DataConnection, manager: SideFeedManager
) -> None:
    stood_in(source, "1.1040")
    push(source, "1.1000", "1.1041")
    assert step(manager) == 1
    assert bid_of(source) == D("1.1041")


def test_source_whose_own_price_is_stored_is_not_doubted(
    source: DataConnection, manager: SideFeedManager
) -> None:
    push(source, "1.1050")
    assert step(manager) == 1


def test_quotes_are_not_lost_if_the_stored_prices_cannot_be_read(
    source: DataConnection, manager: SideFeedManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(source_id: int, symbols: object) -> dict[str, Quote]:
        raise OperationalError("away")

    push(source, "1.1001")
    with monkeypatch.context() as patched:
        patched.setattr(returning, "fallback_prices", fails)
        with pytest.raises(OperationalError):
            step(manager)
    assert step(manager) == 1
    assert bid_of(source) == D("1.1001")


def test_stored_prices_are_read_only_of_pairs_that_were_silent(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[set[str]]()

    def stored(source_id: int, symbols: set[str]) -> dict[str, Quote]:
        asked.append(symbols)
        return {}

    monkeypatch.setattr(returning, "fallback_prices", stored)
    own = ReturningQuotes(1)
    at = market_now()
    for seconds in (0.0, KNOWN_FOR - 1, KNOWN_FOR - 1, KNOWN_FOR):
        clock.seconds += seconds
        at += timedelta(seconds=seconds)
        quote = Quote(PAIR, D("1.1"), D("1.1"), at)
        assert own.passed([quote]) == [quote]
    assert asked == [{PAIR}, {PAIR}]


def test_price_of_a_fallback_that_has_fallen_silent_contradicts_nothing() -> None:
    """Else a source that has come back would fire no stop, without an end."""
    own = ReturningQuotes(1)
    at = market_now()
    stood_in_at = Quote(PAIR, D("1.1000"), D("1.1002"), at)
    for seconds, counts in ((50, False), (51, True)):
        quote = Quote(PAIR, D("1.0000"), D("1.0002"), at + timedelta(seconds=seconds))
        assert own._counts(quote, stood_in_at) is counts


def test_first_quote_that_waits_for_long_confirms_nothing() -> None:
    own = ReturningQuotes(1)
    at = market_now()
    for seconds, counts in ((49, True), (51, False)):
        own._first[PAIR] = Quote(PAIR, D("0.9900"), D("0.9902"), at)
        quote = Quote(PAIR, D("1.0000"), D("1.0002"), at + timedelta(seconds=seconds))
        assert own._counts(quote, Quote(PAIR, D("1.1"), D("1.1"), quote.time)) is counts
