"""Follow the prices of brokers: open and close sources as accounts, lanes and needs change."""

from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial

import structlog
from django.db import connections

from brokers.registry import adapter_for
from common.clocks import machine_time, market_now
from common.reason_codes import Code
from connections.error_messages import explain
from connections.models import DataConnection
from connections.selectors import (
    fallback_chains,
    serves_paper,
    sources_in_lanes,
    spec_for,
    unavailable_reason,
)
from connections.services import SourceReport, forget_suspects, record_source_status
from prices.broker_stream import BrokerStream
from prices.event_loop import get_loop
from prices.feeds import DATABASE_ERRORS, Feed, LiveFeed, open_live
from prices.held_back import HeldQuotes, waiting
from prices.second_source import SecondSource
from prices.selectors import latest, recent_ranges
from prices.stream_status import StreamStatus
from prices.symbol_selection import MAX_PAIRS, SymbolSelection, select_symbols

log = structlog.get_logger(__name__)
REPORT_EVERY = 5.0  # seconds between two writes of an unchanged status
GAP_SECONDS = 3.0  # a quote held back before a longer gap is not confirmed by it
RETRY_SECONDS = 5.0  # after a source could not be opened
REBUILD_EVERY = 60.0  # at least so long a stream runs before it is replaced to make space for pairs
BACKOFF_SECONDS = 1.0  # how long a source is skipped after a database error

Lanes = Callable[[], Collection[str]]
Work = Callable[[], bool | None]


@dataclass(slots=True)
class ActiveFeed:
    """An open source. key: the settings it was opened with, see `_opening_key`."""

    feed: LiveFeed
    stream: BrokerStream
    key: str
    selection: SymbolSelection
    began: float = field(default_factory=machine_time)

    def extend_to(self, selection: SymbolSelection) -> bool:
        """Follow the pairs of this selection too. Return False if the stream must be replaced.

        That is so if a symbol has changed, or if there is no space for the new pairs. A stream that
        was opened recently stays, and takes as many pairs as fit.
        """
        followed = self.selection.symbols
        both = {**followed, **selection.symbols}
        if followed.items() - both.items():
            return False
        new = [pair for pair in selection.symbols if pair not in followed]
        capacity = MAX_PAIRS - len(followed)
        if len(new) > capacity and machine_time() - self.began >= REBUILD_EVERY:
            return False
        if more := {pair: both[pair] for pair in new[:capacity]}:
            expect_stored(self.stream, self.feed.data_connection_id, more)
            self.stream.add_pairs(more)
        self.selection = replace(selection, symbols={**followed, **more})
        return True


class BrokerFeedManager:
    """Keeps the sources of accounts in some lanes open. For one thread."""

    def __init__(self, lanes: Lanes, name: str = "") -> None:
        """lanes: called by each `maintain`. name: of this process, stored with each status."""
        self._lanes, self._name = lanes, name
        self._followed: dict[int, ActiveFeed] = {}
        self._retry_at: dict[int, float] = {}  # sources that are skipped until then
        self._reported: dict[int, tuple[SourceReport, float]] = {}  # the last report, and when
        self._pending_reports: dict[int, SourceReport] = {}  # to be written
        self._judged: dict[int, tuple[HeldQuotes, float]] = {}  # of closed sources; when closed

    @property
    def feeds(self) -> list[Feed]:
        """The feeds of the sources that are followed now."""
        return [followed.feed for followed in self._followed.values()]

    def maintain(self) -> None:
        """Open the sources to follow, close the others, and store the status of each.

        The number of statements does not depend on the number of sources. An error of one source is
        stored as its status and does not affect the others. Raises database errors if the sources
        cannot be read.
        """
        if get_loop() is None:
            return
        selected = {source.pk: source for source in sources_in_lanes(self._lanes())}
        for source_id in self._followed.keys() - selected.keys():
            self._guarded(source_id, partial(self._let_go, source_id))
        for source_id in self._judged.keys() - selected.keys():
            del self._judged[source_id]
        available = [
            source
            for source in selected.values()
            if self._guarded(source.pk, partial(self._may_follow, source))
        ]
        selection = select_symbols(available)
        chains = fallback_chains(source.pk for source in available if source.fallback_id)
        for source in available:
            assert source.broker_connection is not None  # sources_in_lanes selects by it
            chain = chains.get(source.pk, ())
            maintain = partial(self._maintain, source, selection[source.pk], chain)
            self._guarded(source.pk, maintain, source.broker_connection.type)
        record_source_status(*self._pending_reports.values(), by=self._name)
        self._pending_reports.clear()  # not before they are written

    def close(self) -> None:
        """Close every source: first end the calls to brokers, then publish the remaining quotes."""
        ended, self._followed = self._followed, {}
        for followed in ended.values():
            followed.stream.close()
        for source_id, followed in ended.items():
            self._guarded(source_id, partial(_publish_rest, followed))

    def _guarded(self, source_id: int, work: Work, broker_type: str = "such") -> bool | None:
        """Run `work` for a source and return its result; after an error the source is skipped.

        broker_type: of its account, for the error message.
        """
        try:
            return work()
        except DATABASE_ERRORS as error:
            log.warning("prices cannot be published", source=source_id, error=repr(error))
            self._retry_at[source_id] = machine_time() + BACKOFF_SECONDS
            connections.close_all()  # a broken connection is opened again
        except Exception as error:  # any: settings, credentials and adapters fail in any way
            log.warning("prices cannot be followed", source=source_id, error=repr(error))
            if (followed := self._followed.pop(source_id, None)) is not None:
                self._close_stream(source_id, followed)
            explanation = explain(error, broker_type)
            self._back_off(source_id, explanation.code, explanation.message)
        return None

    def _may_follow(self, source: DataConnection) -> bool:
        """Return whether a source may be followed now; close it if it no longer may."""
        if self._retry_at.get(source.pk, 0.0) > machine_time():
            return False
        followed = self._followed.get(source.pk)
        if followed is not None and (
            followed.stream.is_over or followed.key != _opening_key(source)
        ):
            self._close_feed(source.pk)
            followed = None
        if reason := unavailable_reason(source, begins=followed is None):
            self._close_feed(source.pk)
            self._back_off(source.pk, *reason)
        return not reason

    def _maintain(
        self, source: DataConnection, selection: SymbolSelection, chain: tuple[int, ...]
    ) -> None:
        followed = self._followed.get(source.pk)
        if followed is not None and not followed.extend_to(selection):
            self._close_feed(source.pk)
            followed = None
        followed = followed or self._open_feed(source, selection)
        if followed is not None:
            followed.feed.publish_to_paper(serves_paper(source))
            if followed.feed.second.source_ids != chain:
                followed.feed.second = SecondSource(source.pk, chain)
            self._report(_report_of(source.pk, followed, selection))

    def _open_feed(self, source: DataConnection, selection: SymbolSelection) -> ActiveFeed | None:
        """Open a source; None if there is nothing to follow or the process ends."""
        account, loop = source.broker_connection, get_loop()
        assert account is not None  # sources_in_lanes selects by it
        if loop is None:  # this process ends
            return None
        if not selection.symbols:
            self._report(_report_without_stream(source.pk, selection))
            return None
        adapter, spec = adapter_for(account.type), spec_for(account)
        stream = BrokerStream(
            adapter, spec, account.lane, selection.symbols, loop, self._judged_before(source.pk)
        )
        with ExitStack() as on_error:
            on_error.callback(stream.close)
            to_paper = serves_paper(source)
            feed = open_live(source, stream, market_now(), to_paper=to_paper)
            expect_stored(stream, source.pk, selection.symbols)
            on_error.pop_all()
        followed = self._followed[source.pk] = ActiveFeed(
            feed, stream, _opening_key(source), selection
        )
        log.info(
            "prices followed",
            source=source.pk,
            broker_type=account.type,
            pairs=len(selection.symbols),
        )
        return followed

    def _close_feed(self, source_id: int) -> None:
        """Close a source and publish its remaining quotes."""
        if (followed := self._followed.pop(source_id, None)) is not None:
            self._close_stream(source_id, followed)
            _publish_rest(followed)

    def _let_go(self, source_id: int) -> None:
        """Close a source that this process follows no more. What was suspect is not any more."""
        self._close_feed(source_id)
        self._reported.pop(source_id, None)
        forget_suspects(source_id)

    def _close_stream(self, source_id: int, followed: ActiveFeed) -> None:
        """Close a stream. A quote that it holds back still counts if the source is opened again."""
        followed.stream.close()
        self._judged[source_id] = followed.stream.judged(), machine_time()

    def _judged_before(self, source_id: int) -> HeldQuotes | None:
        """Return what was known of a source's quotes if it was closed just now."""
        judged, closed_at = self._judged.pop(source_id, (None, 0.0))
        return judged if machine_time() - closed_at < GAP_SECONDS else None

    def _back_off(self, source_id: int, code: Code, message: str) -> None:
        """Skip a source for a while, and report why."""
        self._retry_at[source_id] = machine_time() + RETRY_SECONDS
        self._report(SourceReport(source_id, code=code, message=message))

    def _report(self, report: SourceReport) -> None:
        """Have a status written when it has changed, else every `REPORT_EVERY` seconds."""
        reported, at = self._reported.get(report.source_id, (None, 0.0))
        if report != reported or machine_time() - at >= REPORT_EVERY:
            self._reported[report.source_id] = replace(report, held_back=0), machine_time()
            unwritten = self._pending_reports.get(report.source_id)
            if unwritten is not None and unwritten.held_back:
                report = replace(
                    report,
                    held_back=report.held_back + unwritten.held_back,
                    last_held=report.last_held or unwritten.last_held,
                )
            self._pending_reports[report.source_id] = report


def expect_stored(stream: BrokerStream, source_id: int, pairs: Collection[str]) -> None:
    """Compare a stream's first quotes with what was stored before, also by another process."""
    stored = latest(source_id, pairs)
    ranges = recent_ranges(source_id, stored, market_now()) if stored else {}
    stream.expect(stored.values(), ranges)


def _publish_rest(followed: ActiveFeed) -> None:
    """Publish the quotes that came before the feed was closed."""
    followed.feed.step(market_now())


def _report_of(source_id: int, followed: ActiveFeed, selection: SymbolSelection) -> SourceReport:
    """Return the status of an open source. Only pairs that are still needed count as missing."""
    status, follows = followed.stream.status(), followed.selection.symbols.keys()
    held = followed.stream.take_held()
    unfollowed = {*selection.unlisted, *(selection.symbols.keys() - follows)}  # no space for them
    return SourceReport(
        source_id,
        _is_alive(status),
        status.code,
        status.message,
        sorted({*follows, *unfollowed}),
        sorted({*status.missing} & selection.symbols.keys() | unfollowed),
        held.count,
        held.last,
        waiting(followed.stream.suspects()),
    )


def _report_without_stream(source_id: int, selection: SymbolSelection) -> SourceReport:
    """Return the status of a source without anything to follow; no code: it waits for needs."""
    if selection.unlisted:
        unlisted = sorted(selection.unlisted)
        message = f"Required pairs: {', '.join(unlisted)}"
        return SourceReport(
            source_id, False, Code.UNKNOWN_SYMBOL_AT_BROKER, message, unlisted, unlisted
        )
    if selection.is_empty:
        message = "The broker lists nothing tradable: test the account that provides these prices."
        return SourceReport(source_id, code=Code.UNKNOWN_SYMBOL_AT_BROKER, message=message)
    return SourceReport(source_id)


def _is_alive(status: StreamStatus) -> bool:
    return (
        bool(status.last_confirmed_at)
        and machine_time() - status.last_confirmed_at < 2 * REPORT_EVERY
    )


def _opening_key(source: DataConnection) -> str:
    """Return a key of all that a feed depends on: when it changes, the source is opened again."""
    account = source.broker_connection
    assert account is not None
    return repr((
        source.settings, account.pk, account.settings, account.account, account.exchange_name,
        account.lane, account.credentials_changed_at, account.identity, account.instrument_book,
    ))  # fmt: skip
