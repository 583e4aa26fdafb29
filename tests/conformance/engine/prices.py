"""The prices of an account under test: from its broker's own stream, else as a recording's."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal

from django.db import connections

from brokers.types import Quote
from common.clocks import machine_time
from connections.session_lanes import GENERAL
from execution.monitoring.stop_rules import StopRuleMonitor
from execution.monitoring.tick_monitor import TickMonitor
from execution.monitoring.trigger_monitor import TriggerMonitor
from prices.broker_feeds import BrokerFeedManager
from prices.feed_runner import HEARTBEAT, LIVE_STEP_SECONDS, FeedRunner
from prices.feeds import Feed
from prices.signals import quotes_stored


class OtherProcess:
    """A second prices process that judges each quote too, as one does that has not noticed yet that
    another one has taken over. It also notes which quote was judged last."""

    def __init__(self) -> None:
        self._monitors = TriggerMonitor(), TickMonitor(), StopRuleMonitor()
        self.judged: dict[tuple[int, str], Decimal] = {}  # the last bid, by source and pair

    def judge(
        self, *, data_connection_id: int, quotes: Sequence[Quote], waited: float = 0.0, **_: object
    ) -> None:
        """Judge quotes, all of one source."""
        for monitor in self._monitors:
            monitor.process_quotes(data_connection_id, quotes, waited)
        for quote in quotes:
            self.judged[data_connection_id, quote.symbol] = quote.bid

    @contextmanager
    def judging(self) -> Iterator["OtherProcess"]:
        """Judge every quote, after the engine's own monitors."""
        quotes_stored.connect(self.judge, weak=False, dispatch_uid="tests.conformance.other")
        try:
            yield self
        finally:
            quotes_stored.disconnect(dispatch_uid="tests.conformance.other")


class Queued:
    """A stream of the quotes that were put into it."""

    def __init__(self) -> None:
        self.waiting: list[Quote] = []

    def due(self, now: datetime) -> list[Quote]:
        """Return them once."""
        quotes, self.waiting = self.waiting, []
        return quotes


class RecordedPrices:
    """The prices of a source without a broker."""

    def __init__(self, source_id: int) -> None:
        self._stream = Queued()
        self._feed = Feed(source_id, "recorded", self._stream)

    def publish(self, quote: Quote) -> None:
        """Publish a quote, as the prices process does."""
        self._stream.waiting.append(quote)
        self._feed.step(quote.time)

    def beat(self) -> None:
        """Note that the source is watched."""
        self._feed.notify([])


@contextmanager
def prices_process(recorded: Sequence[RecordedPrices]) -> Iterator[None]:
    """Follow the prices of accounts without a session, as the prices process does. recorded:
    sources without a broker; it notes each second that it watches them."""
    ends = threading.Event()

    def follow() -> None:
        runner, beat_at = FeedRunner(BrokerFeedManager(lambda: (GENERAL,), "prices")), 0.0
        try:
            while not ends.wait(LIVE_STEP_SECONDS):
                runner.step()
                if machine_time() - beat_at >= HEARTBEAT:
                    beat_at = machine_time()
                    for one in list(recorded):
                        one.beat()
        finally:
            runner.close()
            connections.close_all()

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join()
