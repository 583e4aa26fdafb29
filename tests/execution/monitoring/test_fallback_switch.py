"""A switch to a fallback fires nothing; what the market does meanwhile fires."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.db.models import F

from brokers.types import Quote
from common.clocks import market_now
from common.db.functions import ClockTimestamp
from common.db.sql import database_now, rows, run
from connections.market_data.sources import flag_without_worker
from connections.market_hours import ALWAYS
from connections.models import DataConnection, ExecutionConnection, SourceHealth
from connections.selectors import is_delivering
from connections.services import set_fallback
from events.models import Event
from execution.models import OrderTrigger
from execution.monitoring.level_monitor import scan_levels
from execution.monitoring.stop_rules import StopRuleMonitor
from execution.monitoring.tick_monitor import TickMonitor
from execution.monitoring.trigger_monitor import TriggerMonitor
from positions.models import ExecutionPosition
from prices import fallback_feed
from prices.distances import APART, MIN_SAMPLES, Distance, Sample
from prices.fallback import RETURN, SILENT
from prices.metrics import GAUGES
from prices.models import FallbackUse, LatestQuote
from prices.selectors import latest
from prices.services import store_quotes
from prices.side_feeds import SideFeedManager
from prices.signals import quotes_arrived, quotes_stored
from signals.models import Feed
from tests.execution.monitoring.held_orders import SELL_TRAIL, held, market_and_limit_only, state
from tests.execution.monitoring.test_tick_monitor import bought, exits, source
from tests.stopped_clock import StoppedClock

__all__ = ["bought", "market_and_limit_only"]
pytestmark = pytest.mark.django_db
PAIR = "EUR/USD"
QUIET = SILENT.total_seconds() + 1


def quote_at(bid: str, at: datetime) -> Quote:
    return Quote(PAIR, D(bid), D(bid) + D("0.0001"), at)


class Sources:
    """An account's own source and its fallback; time passes by making what is stored older.

    The clock stands still besides, so that a slow machine lets no bound pass.
    """

    def __init__(
        self, account: ExecutionConnection, clock: StoppedClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.clock = clock
        self.seconds = 1000.0
        monkeypatch.setattr(fallback_feed, "machine_time", lambda: self.seconds)
        monkeypatch.setattr(fallback_feed, "open_since", lambda pair, hours, at: ALWAYS)
        self.own = source(account)
        DataConnection.objects.filter(pk=self.own).update(
            kind="broker", broker_connection=account, user=account.user
        )
        self.user = account.user
        self.other = self.add("Backup")
        SourceHealth.objects.create(source_id=self.own, pairs=[PAIR])
        set_fallback(self.own, self.other, by=account.user)
        self.restart()

    def add(self, name: str) -> int:
        """Add a source that may stand in."""
        symbols = {"symbols": [PAIR]}
        made = DataConnection.objects.create(
            name=name, kind="push", user=self.user, settings=symbols
        )
        return made.pk

    def history(self, other: int, bid: str) -> None:
        """Store minutes in which the own source and another one have quoted."""
        for minute in range(6, 1, -1):
            at = market_now() - timedelta(minutes=minute)
            store_quotes(self.own, [quote_at("1.1000", at)])
            store_quotes(other, [quote_at(bid, at)])

    def restart(self) -> None:
        """Let another process go on, which knows only what is stored."""
        self.manager = SideFeedManager("prices")
        self.look()

    def quote(self, source_id: int, bid: str) -> None:
        """Store a quote of a source, as its own process does, and let its monitors judge it.

        Each is a little newer than the one before.
        """
        self.clock.pass_time(0.01)
        quotes = [quote_at(bid, market_now())]
        store_quotes(source_id, quotes)
        for notice in (quotes_arrived, quotes_stored):
            notice.send(sender=None, data_connection_id=source_id, quotes=quotes, waited=0.0)
        self.look()

    def look(self) -> None:
        self.seconds += 1
        self.manager.maintain()
        for feed in self.manager.feeds:
            feed.step(market_now())

    def passes(self, seconds: float) -> None:
        """Let time pass in which no source quotes."""
        older = timedelta(seconds=seconds)
        LatestQuote.objects.update(received_at=F("received_at") - older, time=F("time") - older)
        FallbackUse.objects.update(own_at=F("own_at") - older, own_since=F("own_since") - older)
        run(
            "UPDATE positions_executionposition SET last_activity_at = last_activity_at - %s",
            (older,),
        )
        for feed in self.manager.feeds:
            if (stream := getattr(feed, "stream", None)) and hasattr(stream, "uses"):
                stream.uses = fallback_feed.known_uses(self.own)
                shift(stream, older)
        self.look()

    def bid(self) -> D:
        return latest(self.own, [PAIR])[PAIR].bid


def shift(stream: fallback_feed.FallbackStream, older: timedelta) -> None:
    """Make what a stream knows older."""

    def shifted(sample: Sample) -> Sample:
        return replace(sample, at=sample.at - older, other_at=sample.other_at - older)

    for distances in stream._distances.values():
        for pk, one in distances.items():
            newest = one.newest and shifted(one.newest)
            distances[pk] = Distance(newest, tuple(map(shifted, one.samples)))


@pytest.fixture
def sources(
    alice: ExecutionConnection, stopped_clock: StoppedClock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Sources]:
    monitors: tuple[Any, ...] = (TickMonitor(), StopRuleMonitor(), TriggerMonitor())

    def arrived(*, data_connection_id: int, quotes: list[Quote], waited: float, **_: Any) -> None:
        monitors[0].process_quotes(data_connection_id, quotes, waited)

    def stored(*, data_connection_id: int, quotes: list[Quote], waited: float, **_: Any) -> None:
        for monitor in monitors[1:]:
            monitor.process_quotes(data_connection_id, quotes, waited)

    quotes_arrived.connect(arrived)
    quotes_stored.connect(stored)
    yield Sources(alice, stopped_clock, monkeypatch)
    quotes_arrived.disconnect(arrived)
    quotes_stored.disconnect(stored)


def silent(sources: Sources, own: str, other: str) -> None:
    """Both sources have quoted for a while; then the own one has been silent for its bound."""
    quoted(sources, own, other)
    sources.passes(QUIET)


def quoted(sources: Sources, own: str, other: str) -> None:
    """Both sources have quoted often enough for their distance to be known."""
    for _ in range(MIN_SAMPLES):
        sources.passes(APART.total_seconds() + 1)
        sources.quote(sources.other, other)
        sources.quote(sources.own, own)


def kinds() -> list[str]:
    found = Event.objects.filter(kind__startswith="prices.").order_by("id")
    return list(found.values_list("kind", flat=True))


@pytest.mark.parametrize("other", ["1.0850", "1.1210"])
def test_switch_fires_no_level(sources: Sources, bought: ExecutionPosition, other: str) -> None:
    """The stop is at 1.09 and the targets at 1.12 and 1.13; the fallback is beyond them."""
    silent(sources, "1.1000", other)
    assert kinds() == []
    sources.quote(sources.other, other)
    assert kinds() == ["prices.on_fallback"]
    assert sources.bid() == D("1.1000")
    assert (exits(), scan_levels()) == ([], [])


def test_move_of_the_fallback_fires_the_stop(sources: Sources, bought: ExecutionPosition) -> None:
    silent(sources, "1.1000", "1.0850")
    sources.quote(sources.other, "1.0851")
    assert exits() == []
    ExecutionPosition.objects.update(last_activity_at=ClockTimestamp())
    sources.passes(5)
    sources.quote(sources.other, "1.0749")
    assert sources.bid() == D("1.0899")
    assert exits() == [("sl", 100)]


def test_switch_fires_no_held_entry(sources: Sources, feed: Feed) -> None:
    sources.quote(sources.own, "1.1000")
    held(feed, order_type="STOP", direction="SELL", stop_price=D("1.09"), sl=D("1.2"))
    silent(sources, "1.1000", "1.0850")
    sources.quote(sources.other, "1.0850")
    assert kinds() == ["prices.on_fallback"]
    assert state() == ("PENDING", "AWAITING_TRIGGER")
    sources.passes(5)
    sources.quote(sources.other, "1.0749")
    assert state() == ("PENDING", "TRIGGERED")


def test_return_fires_nothing_and_waits(sources: Sources, bought: ExecutionPosition) -> None:
    silent(sources, "1.1000", "1.0850")
    sources.quote(sources.other, "1.0850")
    for _ in range(int(RETURN.total_seconds() / 10)):
        sources.passes(10)
        sources.quote(sources.own, "1.1001")
        assert kinds() == ["prices.on_fallback"]
    sources.passes(10)
    sources.quote(sources.own, "1.1002")
    assert kinds() == ["prices.on_fallback", "prices.on_primary"]
    assert not FallbackUse.objects.exists()
    sources.quote(sources.other, "1.0700")
    assert sources.bid() == D("1.1002"), "its own prices count again"
    assert (exits(), scan_levels()) == ([], [])


def test_own_quote_is_not_replaced_by_those_of_the_fallback(sources: Sources) -> None:
    silent(sources, "1.1000", "1.0850")
    sources.quote(sources.other, "1.0850")
    sources.quote(sources.own, "1.1001")
    sources.passes(1)
    sources.quote(sources.other, "1.0855")
    assert sources.bid() == D("1.1001"), "the source itself quotes"
    sources.passes(QUIET)
    sources.quote(sources.other, "1.0852")
    assert sources.bid() == D("1.1003"), "silent again: the distance is that of its last quote"
    assert kinds() == ["prices.on_fallback"]


def test_own_quote_that_contradicts_the_fallback_ends_it(sources: Sources) -> None:
    """Which one is right is not known: it is not used again before it was measured again."""
    silent(sources, "1.1000", "1.0850")
    sources.quote(sources.other, "1.0850")
    sources.quote(sources.own, "1.0950")
    assert kinds() == ["prices.on_fallback", "prices.on_primary"]
    sources.passes(QUIET)
    sources.quote(sources.other, "1.0700")
    assert sources.bid() == D("1.0950")
    quoted(sources, "1.0950", "1.0850")
    sources.passes(QUIET)
    sources.quote(sources.other, "1.0849")
    assert sources.bid() == D("1.0949")


def test_fall_just_before_the_silence_counts_once(
    sources: Sources, bought: ExecutionPosition
) -> None:
    """The fallback was quiet for 15 s when the source fell and died; the stop is at 1.09."""
    quoted(sources, "1.1000", "1.1000")
    sources.passes(15)
    sources.quote(sources.own, "1.0950")
    sources.passes(1)
    sources.quote(sources.other, "1.0950")
    sources.passes(QUIET)
    sources.quote(sources.other, "1.0951")
    assert sources.bid() == D("1.0951")
    assert (exits(), scan_levels()) == ([], [])


def test_worker_that_is_lost_neither_ends_nor_hinders_the_fallback(
    sources: Sources, bought: ExecutionPosition
) -> None:
    ExecutionConnection.objects.filter(price_source=sources.own).update(lane="mt4.lost")
    silent(sources, "1.1000", "1.0850")
    flag_without_worker()
    assert SourceHealth.objects.get(source_id=sources.own).error_code
    sources.quote(sources.other, "1.0850")
    flag_without_worker()
    ExecutionPosition.objects.update(last_activity_at=ClockTimestamp())
    sources.passes(5)
    sources.quote(sources.other, "1.0749")
    assert kinds() == ["prices.on_fallback"]
    assert exits() == [("sl", 100)]


def test_fallback_that_is_chosen_after_the_first_died_goes_on(
    sources: Sources, bought: ExecutionPosition
) -> None:
    """Its distance is that of the minutes in which both have quoted."""
    third = sources.add("Third")
    sources.history(third, "1.1050")
    silent(sources, "1.1000", "1.0850")
    sources.quote(sources.other, "1.0850")
    sources.passes(QUIET)
    set_fallback(sources.own, third, by=None)
    sources.look()
    sources.quote(third, "1.1052")
    assert sources.bid() == D("1.1002")
    assert FallbackUse.objects.get().fallback_id == third
    assert (exits(), scan_levels()) == ([], [])


def test_fallback_that_is_taken_away_and_chosen_again_is_used(sources: Sources) -> None:
    sources.history(sources.other, "1.0850")
    silent(sources, "1.1000", "1.0850")
    sources.quote(sources.other, "1.0850")
    set_fallback(sources.own, None, by=None)
    sources.look()
    assert not FallbackUse.objects.exists()
    set_fallback(sources.own, sources.other, by=None)
    sources.passes(QUIET)
    sources.quote(sources.other, "1.0853")
    assert sources.bid() == D("1.1003")
    assert kinds() == ["prices.on_fallback"] * 2


def test_use_is_suspended_while_the_market_is_closed(
    sources: Sources, bought: ExecutionPosition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share's fallback may go on at night; it goes on from the opening, after a while."""
    silent(sources, "1.1000", "1.0850")
    sources.quote(sources.other, "1.0850")
    ExecutionPosition.objects.update(last_activity_at=ClockTimestamp())
    sources.passes(5)
    monkeypatch.setattr(fallback_feed, "open_since", lambda pair, hours, at: None)
    sources.quote(sources.other, "1.0700")
    assert sources.bid() == D("1.1000")
    monkeypatch.setattr(fallback_feed, "open_since", lambda pair, hours, at: at)
    sources.quote(sources.other, "1.0700")
    assert (sources.bid(), exits(), kinds()) == (D("1.1000"), [], ["prices.on_fallback"])
    assert without_price() == 0
    monkeypatch.setattr(fallback_feed, "open_since", lambda pair, hours, at: at - 2 * SILENT)
    sources.passes(1)
    sources.quote(sources.other, "1.0700")
    assert exits() == [("sl", 100)]


def test_fallback_that_stops_raises_an_alarm(sources: Sources) -> None:
    silent(sources, "1.1000", "1.0850")
    sources.quote(sources.other, "1.0850")
    source = DataConnection.objects.select_related("health")
    SourceHealth.objects.filter(source_id=sources.own).update(error_code="BROKER_UNREACHABLE")
    assert without_price() == 0
    assert is_delivering(source.get(pk=sources.own), database_now())
    sources.passes(QUIET)
    health = SourceHealth.objects.get(source_id=sources.own)
    assert (without_price(), health.on_fallback) == (1, [])
    assert not is_delivering(source.get(pk=sources.own), database_now())
    sources.quote(sources.other, "1.0850")
    assert without_price() == 0
    assert kinds() == ["prices.on_fallback"]


def without_price() -> int:
    (gauge,) = (one for one in GAUGES if one.name == "price_source_pairs_without_fallback")
    return sum(row.value for row in rows(gauge.statement()))


def test_restart_goes_on_with_the_fallback(sources: Sources, bought: ExecutionPosition) -> None:
    silent(sources, "1.1000", "1.0850")
    sources.quote(sources.other, "1.0850")
    sources.restart()
    sources.passes(5)
    sources.quote(sources.other, "1.0852")
    assert sources.bid() == D("1.1002")
    assert kinds() == ["prices.on_fallback"]
    assert (exits(), scan_levels()) == ([], [])


def test_use_is_shown_on_the_source(sources: Sources) -> None:
    silent(sources, "1.1000", "1.0850")
    sources.quote(sources.other, "1.0850")
    health = SourceHealth.objects.get(source_id=sources.own)
    assert (health.on_fallback, health.fallback_names) == ([PAIR], "Backup")
    event = Event.objects.get(kind="prices.on_fallback")
    assert (event.payload["pairs"], event.payload["fallback_name"]) == ([PAIR], "Backup")


def test_fallback_that_is_taken_away_is_used_no_more(sources: Sources) -> None:
    silent(sources, "1.1000", "1.0850")
    sources.quote(sources.other, "1.0850")
    set_fallback(sources.own, None, by=None)
    sources.quote(sources.other, "1.0700")
    assert sources.bid() == D("1.1000")
    assert kinds() == ["prices.on_fallback"], "its own prices are not back"


def test_no_fallback_is_used_while_the_market_is_closed(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fallback may go on quoting at a weekend, thinly."""
    monkeypatch.setattr(fallback_feed, "open_since", lambda pair, hours, at: None)
    silent(sources, "1.1000", "1.0850")
    sources.quote(sources.other, "1.0700")
    assert kinds() == []
    assert sources.bid() == D("1.1000")


@pytest.mark.parametrize("other", ["1.0850", "1.1150"])
def test_switch_triggers_and_moves_no_trailing_entry(
    sources: Sources, feed: Feed, other: str
) -> None:
    """It follows the market at a distance of 50 pips; the fallback is 150 pips away."""
    quoted(sources, "1.1000", other)
    held(feed, **SELL_TRAIL)
    level = OrderTrigger.objects.get().level
    silent(sources, "1.1000", other)
    sources.quote(sources.other, other)
    assert kinds() == ["prices.on_fallback"]
    assert (state(), OrderTrigger.objects.get().level) == (("PENDING", "AWAITING_TRIGGER"), level)
    sources.passes(5)
    sources.quote(sources.other, str(D(other) - D("0.0051")))
    assert state() == ("PENDING", "TRIGGERED")


def test_deleted_fallback_of_a_fallback_is_used_no_more(sources: Sources) -> None:
    """With it its use was deleted; the process that still knew it must not write it again."""
    third = sources.add("Third")
    set_fallback(sources.other, third, by=None)
    sources.history(third, "1.1050")
    silent(sources, "1.1000", "1.0850")
    sources.quote(third, "1.1052")
    assert FallbackUse.objects.get().fallback_id == third
    DataConnection.objects.get(pk=third).delete()
    sources.look()
    sources.quote(sources.own, "1.1001")
    sources.look()
    assert not FallbackUse.objects.exists()
    assert sources.bid() == D("1.1001")
