"""Run the price sources: recordings every 50 ms, live ones every 20 ms; none while none is open.

The prices process runs every active source; a session worker runs those of accounts in its lanes.
"""

import logging
import threading
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from typing import Protocol

from django.db import connections

from brokers.base import BrokerError
from common.clocks import machine_time, market_now
from common.errors import MisconfiguredError
from connections.models import DataConnection
from connections.session_lanes import GENERAL
from prices.broker_feeds import BACKOFF_SECONDS, BrokerFeedManager
from prices.feeds import DATABASE_ERRORS, Feed, open_feed
from prices.services import delete_old_bars
from prices.side_feeds import SideFeedManager
from prices.signals import prices_started, prices_stopped

log = logging.getLogger(__name__)
# Machine time from the start of a step to the next one. A hit waits as long, so brokers' are short;
# a recording's prices are judged in fewer, larger batches.
STEP_SECONDS, LIVE_STEP_SECONDS = 0.05, 0.02
FIND_SOURCES_EVERY = 5.0  # seconds until a source that was added or switched off is noticed
MAINTAIN_EVERY = 1.0  # the same for brokers' sources and for pairs that are needed now
HEARTBEAT = 1.0  # seconds between two notifications without quotes
DELETE_OLD_EVERY = 600.0  # minute bars that are older than a week
LIST, LIVE, BARS = "list", "brokers", "bars"  # what may be idle beside feeds and their sources


def run(
    stop: threading.Event, *, pace: float = STEP_SECONDS, live_pace: float = LIVE_STEP_SECONDS
) -> int:
    """Run the prices process until `stop` is set; return how many quotes were published.

    Brokers' prices have their own thread, and so have pushed ones with the fallbacks: recordings
    go to the paper broker first, and if it is unavailable or busy, the levels of real accounts are
    still monitored. `prices_started` and `prices_stopped` are sent; an error of a receiver of the
    first ends the process.
    """
    recorded, live = (
        FeedRunner(),
        [
            FeedRunner(live=BrokerFeedManager(lambda: (GENERAL,), "prices")),
            FeedRunner(live=SideFeedManager("prices")),
        ],
    )
    prices_started.send(sender=FeedRunner)
    with ThreadPoolExecutor(len(live), thread_name_prefix="live-prices") as threads:
        runs = [threads.submit(_run_until, runner, stop, live_pace) for runner in live]
        try:
            _run_until(recorded, stop, pace)
        finally:
            wait(runs)
            prices_stopped.send_robust(sender=FeedRunner)
        for one in runs:
            one.result()  # raises its error
    return recorded.published + sum(runner.published for runner in live)


def _run_until(runner: "FeedRunner", stop: threading.Event, pace: float) -> None:
    """Step until `stop` is set. An error sets it, so that the other thread ends too."""
    try:
        while not stop.is_set():
            began = machine_time()
            runner.step()
            pause = pause_after(machine_time() - began, pace)
            stop.wait(max(pause, runner.seconds_without_sources()))
    finally:
        stop.set()
        runner.close()
        connections.close_all()


def pause_after(took: float, pace: float) -> float:
    """Return how many seconds to wait after a step. took: how long it took; pace: of the steps."""
    return max(0.0, pace - took)


class LiveFeeds(Protocol):
    """What keeps sources open whose prices come from outside. For one thread."""

    @property
    def feeds(self) -> list[Feed]:
        """The feeds that are open now."""
        ...

    def maintain(self) -> None:
        """Open and close feeds, and store the status of their sources."""
        ...

    def close(self) -> None:
        """Publish what has come, and end."""
        ...


class FeedRunner:
    """Publishes the quotes of sources: brokers', or those that need no broker. For one thread.

    An error of one source never ends the others.
    """

    def __init__(self, live: LiveFeeds | None = None) -> None:
        """live: what keeps sources open whose prices come from outside; None: run recordings."""
        self._live = live
        self._maintained_at = float("-inf")
        self._feeds: dict[tuple[int, str], Feed] = {}
        self._idle_until: dict[Hashable, float] = {}
        self._found_at = self._beat_at = self._deleted_at = float("-inf")
        self.published = 0  # quotes

    def close(self) -> None:
        """End the calls to brokers."""
        self._idle_until.pop(LIVE, None)
        if self._live is not None:
            self._guarded(LIVE, "brokers' prices", self._live.close)

    def step(self) -> None:
        """Open and close sources if it is time to, then publish what is due of each."""
        if self._live is None:
            if machine_time() - self._found_at >= FIND_SOURCES_EVERY:
                self._guarded(LIST, "the list of sources", self._find_sources)
            if machine_time() - self._deleted_at >= DELETE_OLD_EVERY:
                self._deleted_at = machine_time()
                self._guarded(BARS, "old minute bars", lambda: delete_old_bars(market_now()))
        elif machine_time() - self._maintained_at >= MAINTAIN_EVERY:
            self._maintained_at = machine_time()
            self._guarded(LIVE, "brokers' prices", self._live.maintain)
        for feed in self._all():
            # A source may have two: an error of its fallback delays nothing that it sends itself.
            key = feed.data_connection_id, type(feed)
            self._guarded(key, feed.name, partial(self._step, feed))
        if machine_time() - self._beat_at >= HEARTBEAT:
            self._beat_at = machine_time()
            for feed in self._all():
                feed.beat()

    def seconds_without_sources(self) -> float:
        """Return for how long no step is needed: until it looks for sources again, if none is open;
        else 0."""
        if self._all():
            return 0.0
        looks_at = self._found_at + FIND_SOURCES_EVERY
        if self._live is not None:
            looks_at = self._maintained_at + MAINTAIN_EVERY
        return max(0.0, looks_at - machine_time())

    def _all(self) -> list[Feed]:
        return [*self._feeds.values()] if self._live is None else self._live.feeds

    def _step(self, feed: Feed) -> None:
        self.published += feed.step(market_now())

    def _guarded(self, key: Hashable, name: str, work: Callable[[], object]) -> None:
        """Run `work` for a source; log its error and skip the source for a while."""
        if self._idle_until.get(key, 0) > machine_time():
            return
        try:
            work()
        except Exception as error:  # any: an error in one source must not stop the others
            known = isinstance(error, (*DATABASE_ERRORS, MisconfiguredError, BrokerError))
            log.warning("prices: %s: %s", name, error if known else repr(error), exc_info=not known)
            self._idle_until[key] = machine_time() + BACKOFF_SECONDS
            connections.close_all()  # a broken connection is opened again

    def _find_sources(self) -> None:
        """Open sources that are new or changed, and close those that are no longer active."""
        active = {_key(source): source for source in _active()}
        for key in self._feeds.keys() - active.keys():
            log.info("prices: %s is no longer followed", self._feeds.pop(key).name)
        for key in active.keys() - self._feeds.keys():
            self._guarded(key[0], active[key].name, partial(self._open, key, active[key]))
        self._found_at = machine_time()

    def _open(self, key: tuple[int, str], source: DataConnection) -> None:
        if feed := open_feed(source, market_now()):
            self._feeds[key] = feed
            log.info("prices: following %s (%s)", source.name, source.kind)


def _active() -> Iterable[DataConnection]:
    others = DataConnection.objects.exclude(
        kind__in=(DataConnection.Kind.BROKER, DataConnection.Kind.PUSH)
    )
    return others.filter(is_active=True).order_by("pk")


def _key(source: DataConnection) -> tuple[int, str]:
    """Return a key that changes with the settings: the source is then opened again."""
    return source.pk, f"{source.kind} {source.settings!r}"
