"""Carrying prices, one step each 50 ms: every active source of the prices process, until it is told
to stop; in a worker with sessions, those of the accounts in its lanes."""

import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial

from django.db import connections

from brokers.base import BrokerError
from common.clocks import machine_time, market_now
from common.errors import MisconfiguredError
from connections.models import DataConnection
from connections.session_lanes import GENERAL
from prices.broker_feeds import BACKOFF_SECONDS, DATABASE_ERRORS, BrokerFeedManager
from prices.feeds import Feed, open_feed
from prices.signals import prices_started, prices_stopped

log = logging.getLogger(__name__)
STEP_SECONDS = 0.05  # seconds of machine time between two looks at the sources
FIND_SOURCES_EVERY = 5.0  # how soon a source that was added or switched off is noticed
MAINTAIN_EVERY = 1.0  # and one that a broker tells, or a pair of it that is needed now
HEARTBEAT = 1.0  # how often receivers are called when there are no quotes
LIST, LIVE = 0, -1  # what rests beside sources, which have ids


def run(stop: threading.Event, *, pace: float = STEP_SECONDS) -> int:
    """Be the prices process until `stop` is set; return how many quotes were carried.

    Brokers' prices have a thread of their own: a paper broker that is away or busy, to which
    recordings go first, keeps no level of a real account from being judged. Receivers hear of the
    start (one that cannot ends the process) and of the end.
    """
    recorded, brokers = (
        FeedRunner(),
        FeedRunner(live=BrokerFeedManager(lambda: (GENERAL,), "prices")),
    )
    prices_started.send(sender=FeedRunner)
    with ThreadPoolExecutor(1, thread_name_prefix="brokers-prices") as threads:
        beside = threads.submit(_run_until, brokers, stop, pace)
        try:
            _run_until(recorded, stop, pace)
        finally:
            wait([beside])
            prices_stopped.send_robust(sender=FeedRunner)
        beside.result()  # raises what ended it
    return recorded.carried + brokers.carried


def _run_until(runner: "FeedRunner", stop: threading.Event, pace: float) -> None:
    """Look until `stop` is set; it is where this ends in any other way."""
    try:
        while not stop.is_set():
            runner.step()
            stop.wait(pace)
    finally:
        stop.set()
        runner.close()
        connections.close_all()


class FeedRunner:
    """Steps through sources: brokers', or those that need no broker. Built for one thread.

    An error of one source never ends the others.
    """

    def __init__(self, live: BrokerFeedManager | None = None) -> None:
        """live: the brokers' sources to follow; None: all others."""
        self._live = live
        self._maintained_at = float("-inf")
        self._feeds: dict[tuple[int, str], Feed] = {}
        self._idle_until: dict[int, float] = {}
        self._found_at = self._beat_at = float("-inf")
        self.carried = 0

    def close(self) -> None:
        """Speak to no broker any more."""
        self._idle_until.pop(LIVE, None)
        if self._live is not None:
            self._guarded(LIVE, "brokers' prices", self._live.close)

    def step(self) -> None:
        """Do one round."""
        if self._live is None:
            if machine_time() - self._found_at >= FIND_SOURCES_EVERY:
                self._guarded(LIST, "the list of sources", self._find_sources)
        elif machine_time() - self._maintained_at >= MAINTAIN_EVERY:
            self._maintained_at = machine_time()
            self._guarded(LIVE, "brokers' prices", self._live.maintain)
        for feed in self._all():
            self._guarded(feed.data_connection_id, feed.name, partial(self._step, feed))
        if machine_time() - self._beat_at >= HEARTBEAT:
            self._beat_at = machine_time()
            for feed in self._all():
                feed.notify([])

    def _all(self) -> list[Feed]:
        return [*self._feeds.values()] if self._live is None else self._live.feeds

    def _step(self, feed: Feed) -> None:
        self.carried += feed.step(market_now())

    def _guarded(self, key: int, name: str, work: Callable[[], None]) -> None:
        """Do something for a source; after an error log it and let the source rest."""
        if self._idle_until.get(key, 0) > machine_time():
            return
        try:
            work()
        except Exception as error:  # whatever it is, the others go on
            known = isinstance(error, (*DATABASE_ERRORS, MisconfiguredError, BrokerError))
            log.warning("prices: %s: %s", name, error if known else repr(error), exc_info=not known)
            self._idle_until[key] = machine_time() + BACKOFF_SECONDS
            connections.close_all()  # a connection that broke is opened anew

    def _find_sources(self) -> None:
        """Open sources that are new or changed, and let go of those that ended."""
        active = {_key(source): source for source in _active()}
        for key in self._feeds.keys() - active.keys():
            log.info("prices: %s is let go", self._feeds.pop(key).name)
        for key in active.keys() - self._feeds.keys():
            self._guarded(key[0], active[key].name, partial(self._open, key, active[key]))
        self._found_at = machine_time()

    def _open(self, key: tuple[int, str], source: DataConnection) -> None:
        if feed := open_feed(source, market_now()):
            self._feeds[key] = feed
            log.info("prices: following %s (%s)", source.name, source.kind)


def _active() -> Iterable[DataConnection]:
    others = DataConnection.objects.exclude(kind=DataConnection.Kind.BROKER)
    return others.filter(is_active=True).order_by("pk")


def _key(source: DataConnection) -> tuple[int, str]:
    """A source with other settings is another one."""
    return source.pk, f"{source.kind} {source.settings!r}"
