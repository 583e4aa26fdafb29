"""From a broker's stream to the exits: a bad tick trades nothing, a real gap acts in time."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.types import Quote
from common.clocks import market_now
from common.db.functions import ClockTimestamp
from connections.models import DataConnection, ExecutionConnection
from execution.monitoring.level_monitor import scan_levels
from execution.monitoring.stop_failover import take_over_missed_levels
from execution.monitoring.stop_rules import StopRuleMonitor
from execution.monitoring.tick_monitor import TickMonitor
from execution.monitoring.trigger_monitor import TriggerMonitor
from positions.models import ExecutionPosition, Guardian
from prices import quote_intake
from prices.feeds import LiveFeed
from prices.held_back import HOLD_SECONDS
from prices.quote_intake import QuoteIntake
from prices.selectors import latest
from prices.signals import quotes_arrived, quotes_stored
from signals.models import Feed
from tests.execution.monitoring.held_orders import held, market_and_limit_only, state
from tests.execution.monitoring.test_tick_monitor import bought, exits, source

__all__ = ["bought", "market_and_limit_only"]
pytestmark = pytest.mark.django_db
PAIR = "EUR/USD"
BAD, GAP = "0.5500", "0.9900"  # the stop is at 1.09


class Streamed:
    """An account's source from its intake to the monitors; the test sets the time."""

    def __init__(self, account: ExecutionConnection, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds, self._began, self.sent = 1000.0, market_now(), timedelta()
        monkeypatch.setattr(quote_intake, "machine_time", lambda: self.seconds)
        monkeypatch.setattr(quote_intake, "market_now", self.now)
        self.id = source(account)
        self._intake = QuoteIntake({PAIR: "eurusd"}, {})
        self._feed = LiveFeed(DataConnection.objects.get(pk=self.id), self, to_paper=False)

    def now(self) -> Any:
        return self._began + timedelta(seconds=self.seconds - 1000)

    def due(self, _: object) -> list[Quote]:
        return self._intake.take_accepted()

    def send(self, *bids: str) -> None:
        """Receive quotes and let the feed publish what counts."""
        for bid in bids:
            self.sent += timedelta(milliseconds=1)  # of the broker's clock
            at = self.now() + self.sent
            self._intake.accept(Quote(PAIR, D(bid), D(bid) + D("0.0001"), at))
        self._feed.step(self.now())

    def receive(self, quote: Quote) -> None:
        self._intake.accept(quote)
        self._feed.step(self.now())

    def restart(self, *, is_stored: bool) -> None:
        """Go on in another process, which knows only what was stored."""
        self._intake = QuoteIntake({PAIR: "eurusd"}, {})
        if is_stored:
            self._intake.expect(latest(self.id, [PAIR]).values())

    def passes(self, seconds: float) -> None:
        """Let time pass without a quote; the feed goes on looking."""
        self.seconds += seconds
        self.send()


@pytest.fixture
def streamed(alice: ExecutionConnection, monkeypatch: pytest.MonkeyPatch) -> Iterator[Streamed]:
    monitors = TickMonitor(), StopRuleMonitor(), TriggerMonitor()

    def judge(
        *, data_connection_id: int, quotes: list[Quote], waited: float = 0.0, **_: Any
    ) -> None:
        monitors[0].process_quotes(data_connection_id, quotes, waited)

    def judge_stored(
        *, data_connection_id: int, quotes: list[Quote], waited: float = 0.0, **_: Any
    ) -> None:
        monitors[1].process_quotes(data_connection_id, quotes, waited)
        monitors[2].process_quotes(data_connection_id, quotes, waited)

    quotes_arrived.connect(judge)
    quotes_stored.connect(judge_stored)
    made = Streamed(alice, monkeypatch)
    made.send("1.1", "1.1001", "1.1000")
    yield made
    quotes_arrived.disconnect(judge)
    quotes_stored.disconnect(judge_stored)


def test_lone_bad_tick_fires_no_stop(streamed: Streamed, bought: ExecutionPosition) -> None:
    streamed.send(BAD)
    streamed.passes(HOLD_SECONDS / 2)
    streamed.send("1.1002")
    streamed.passes(60)
    assert scan_levels() == []
    assert exits() == []
    assert latest(streamed.id, [PAIR])[PAIR].bid == D("1.1002")


def test_lone_bad_tick_takes_over_no_stop_of_the_broker(
    streamed: Streamed, bought: ExecutionPosition
) -> None:
    ExecutionPosition.objects.update(sl_guardian=Guardian.BROKER, broker_sl=D("1.09"))
    streamed.send(BAD)
    assert take_over_missed_levels() == []
    bought.refresh_from_db()
    assert bought.breached_since is None


def test_lone_bad_tick_fires_no_held_entry(streamed: Streamed, feed: Feed) -> None:
    held(feed, order_type="STOP", direction="SELL", stop_price=D("1.08"), sl=D("1.2"))
    streamed.send(BAD, "1.1002")
    assert state() == ("PENDING", "AWAITING_TRIGGER")
    streamed.send("1.07", "1.0701")
    assert state() == ("PENDING", "TRIGGERED")


def test_real_gap_exits_with_the_second_quote(
    streamed: Streamed, bought: ExecutionPosition
) -> None:
    streamed.send(GAP)
    assert exits() == []
    streamed.send("0.9905")
    assert exits() == [("sl", 100)]


def test_real_gap_exits_after_a_second_though_the_feed_is_silent(
    streamed: Streamed, bought: ExecutionPosition
) -> None:
    streamed.send(GAP)
    streamed.passes(HOLD_SECONDS / 2)
    ExecutionPosition.objects.update(last_activity_at=ClockTimestamp())  # something happened to it
    assert exits() == []
    streamed.passes(HOLD_SECONDS / 2)
    assert exits() == [("sl", 100)]


def test_real_gap_exits_within_a_second_with_one_quote_a_minute(
    streamed: Streamed, bought: ExecutionPosition
) -> None:
    for bid in ("1.1003", "1.1001", "1.1002"):
        for _ in range(30):
            streamed.passes(2)
        streamed.send(bid)
    streamed.send(GAP)
    streamed.passes(HOLD_SECONDS)
    assert exits() == [("sl", 100)]


@pytest.mark.parametrize("again", [BAD, "0.5501"])
def test_bad_tick_that_is_sent_again_fires_no_stop(
    streamed: Streamed, bought: ExecutionPosition, again: str
) -> None:
    """The same price with a later time, and another one of the same moment."""
    streamed.send(BAD)
    if again != BAD:
        streamed.sent -= timedelta(milliseconds=1)
    streamed.send(again)
    assert exits() == []
    streamed.send("1.1002")
    streamed.passes(60)
    assert (exits(), scan_levels()) == ([], [])


def test_bad_ticks_of_one_batch_fire_no_stop(streamed: Streamed, bought: ExecutionPosition) -> None:
    streamed.send("1.1003", BAD, "1.1002", "2.2", "1.1001")
    assert (exits(), scan_levels()) == ([], [])


def test_one_sided_bad_tick_fires_no_stop(streamed: Streamed, bought: ExecutionPosition) -> None:
    streamed.receive(Quote(PAIR, D("0.55"), D("1.1002"), streamed.now() + timedelta(seconds=1)))
    streamed.send("1.1002")
    streamed.passes(60)
    assert (exits(), scan_levels()) == ([], [])


def test_first_quote_of_a_started_process_fires_no_stop(
    streamed: Streamed, bought: ExecutionPosition
) -> None:
    """It knows what was stored; the suspicion of the one before is not lost by the restart."""
    streamed.send(BAD)
    streamed.restart(is_stored=True)
    streamed.send(BAD, BAD)
    assert exits() == []
    streamed.send("1.1002")
    assert (exits(), scan_levels()) == ([], [])


def test_first_quote_of_all_fires_no_stop(streamed: Streamed, bought: ExecutionPosition) -> None:
    """An adopted position may be of a pair that its source has never quoted."""
    streamed.restart(is_stored=False)
    streamed.send(BAD)
    assert exits() == []
    streamed.send("1.1002", "1.1001")
    assert (exits(), scan_levels()) == ([], [])


def test_weekend_gap_fires_the_stop_with_the_second_quote(
    streamed: Streamed, bought: ExecutionPosition
) -> None:
    streamed.restart(is_stored=True)
    streamed.send(GAP)
    assert exits() == []
    streamed.send("0.9902")
    assert exits() == [("sl", 100)]
