"""Open and close what the prices process serves beside recordings and brokers' streams.

These are the sources that quotes are pushed to, and the fallbacks of sources.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import structlog
from django.db import connections

from common.clocks import machine_time, market_now
from common.errors import MisconfiguredError
from common.reason_codes import Code
from connections.models import DataConnection
from connections.selectors import fallback_chains, followed_pairs, serves_paper, side_sources
from connections.services import SourceReport, record_source_status
from prices.fallback_feed import FallbackFeed, FallbackStream, known_uses, used_by_others
from prices.feeds import DATABASE_ERRORS, Feed
from prices.pushed_feeds import PushedFeed, open_pushed
from prices.pushed_reader import PushedReader
from prices.second_source import SecondSource

log = structlog.get_logger(__name__)
REPORT_EVERY = 5.0  # seconds between two writes of an unchanged status
# What the settings or the quotes of one source may raise.
UNUSABLE = (MisconfiguredError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError)


class SideFeedManager:
    """Keeps pushed sources and fallbacks open. For one thread."""

    def __init__(self, name: str = "") -> None:
        """name: of this process, stored with each status."""
        self._name = name
        self._pushed: dict[int, PushedFeed] = {}
        self._reader = PushedReader()
        self._fallbacks: dict[int, FallbackFeed] = {}
        self._reported: dict[int, tuple[SourceReport, float]] = {}
        self._has_looked = False

    @property
    def feeds(self) -> list[Feed]:
        """The feeds that are open now; pushed ones first, as they may be others' fallbacks."""
        return [*self._pushed.values(), *self._fallbacks.values()]

    def maintain(self) -> None:
        """Open and close feeds as sources and their fallbacks change, and store their status."""
        sources = side_sources()
        chains = fallback_chains([source.pk for source in sources if source.fallback_id])
        pushed = [source for source in sources if source.kind == DataConnection.Kind.PUSH]
        self._maintain_pushed(pushed, chains)
        self._maintain_fallbacks({source.pk: source for source in sources}, chains)

    def close(self) -> None:
        """Publish what has come, and end. A fallback in use is kept for the next process."""
        for feed in self.feeds:
            self._guarded(feed.data_connection_id, partial(feed.step, market_now()))
        self._pushed, self._fallbacks = {}, {}

    def _guarded(self, source_id: int, work: Callable[[], object]) -> Exception | None:
        """Run `work` for a source; return its error, which ends nothing for the others."""
        try:
            work()
            return None
        except DATABASE_ERRORS as error:
            log.warning("prices cannot be stored", source=source_id, error=repr(error))
            connections.close_all()  # a broken connection is opened again
            return error
        except UNUSABLE as error:  # it must not stop the others
            log.warning("prices cannot be followed", source=source_id, error=repr(error))
            return error

    def _maintain_pushed(
        self, sources: list[DataConnection], chains: dict[int, tuple[int, ...]]
    ) -> None:
        for pk in self._pushed.keys() - {source.pk for source in sources}:
            self._guarded(pk, partial(self._close_pushed, pk))
        reports = list[SourceReport]()
        for source in sources:
            follow = partial(self._follow_pushed, source, chains.get(source.pk, ()))
            if (error := self._guarded(source.pk, follow)) is None:
                reports += self._to_write(self._pushed[source.pk].stream.report(market_now()))
            elif not isinstance(error, DATABASE_ERRORS):
                reports += self._to_write(
                    SourceReport(source.pk, code=Code.UNEXPECTED, message=repr(error))
                )
        record_source_status(*reports, by=self._name)

    def _close_pushed(self, source_id: int) -> None:
        """Publish what has come, and take no more. Its row keeps what is held back."""
        feed = self._pushed.pop(source_id)
        try:
            feed.step(market_now())
        finally:
            feed.stream.close()

    def _follow_pushed(self, source: DataConnection, chain: tuple[int, ...]) -> None:
        """Open a source, or let its feed go on with what its settings are now."""
        if (feed := self._pushed.get(source.pk)) is None:
            feed = self._pushed[source.pk] = open_pushed(source, market_now(), self._reader)
            log.info("pushed prices followed", source=source.pk)
        elif feed.stream.pairs != frozenset(source.pushed_symbols):
            feed.stream.follow(source.pushed_symbols)
        feed.publish_to_paper(serves_paper(source))
        if feed.second.source_ids != chain:
            feed.second = SecondSource(source.pk, chain)

    def _to_write(self, report: SourceReport) -> list[SourceReport]:
        """Return a report that has changed, or that was written a while ago."""
        reported, at = self._reported.get(report.source_id, (None, 0.0))
        if report == reported and machine_time() - at < REPORT_EVERY:
            return []
        self._reported[report.source_id] = replace(report, held_back=0), machine_time()
        return [report]

    def _maintain_fallbacks(
        self, sources: dict[int, DataConnection], chains: dict[int, tuple[int, ...]]
    ) -> None:
        wanted = {pk: chain for pk, chain in chains.items() if chain}
        if not self._has_looked:  # an earlier process may have left some
            for pk in used_by_others(wanted):
                FallbackStream(pk, uses=known_uses(pk)).stop()
            self._has_looked = True
        for pk in self._fallbacks.keys() - wanted.keys():
            self._guarded(pk, partial(self._end_fallback, pk))
        for pk, chain in wanted.items():
            self._guarded(pk, partial(self._follow_fallback, sources[pk], chain))

    def _end_fallback(self, source_id: int) -> None:
        """Use none any more. If that cannot be stored, the next round tries again."""
        self._fallbacks[source_id].stream.stop()
        del self._fallbacks[source_id]

    def _follow_fallback(self, source: DataConnection, chain: tuple[int, ...]) -> None:
        """Open the fallbacks of a source, or let them go on with what is chosen now."""
        if (feed := self._fallbacks.get(source.pk)) is None:
            feed = self._fallbacks[source.pk] = FallbackFeed(source, FallbackStream(source.pk))
        feed.publish_to_paper(serves_paper(source))
        feed.stream.follow(chain, frozenset(followed_pairs(source)))
