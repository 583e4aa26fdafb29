"""Which accounts' prices this process follows, as accounts, lanes and wishes come and go."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import partial

import psycopg
import structlog
from django.db import Error as DatabaseError
from django.db import connections

from brokers.registry import adapter_for
from common.clocks import machine_time, market_now
from common.reason_codes import Code
from connections.error_messages import explain
from connections.market_data import sources
from connections.market_data.sources import SourceReport
from connections.models import DataConnection
from connections.selectors import spec_for
from prices.broker_stream import BrokerStream
from prices.event_loop import get_loop
from prices.feeds import Feed, LiveFeed, open_live
from prices.stream_status import StreamStatus
from prices.symbol_selection import MAX_PAIRS, SymbolSelection, select_symbols

log = structlog.get_logger(__name__)
REPORT_EVERY = 5.0
RETRY_SECONDS = 5.0  # after it could not be opened
REBUILD_EVERY = 60.0  # so rarely all is begun anew to make room: meanwhile nothing may be told
BACKOFF_SECONDS = 1.0  # how long a source rests after an error of the database
DATABASE_ERRORS = (DatabaseError, psycopg.Error)  # the paper broker's books are psycopg's own

Lanes = Callable[[], Collection[str]]
Work = Callable[[], bool | None]


@dataclass(slots=True)
class ActiveFeed:
    """One source at work. key: what it was opened by."""

    feed: LiveFeed
    stream: BrokerStream
    key: str
    selection: SymbolSelection
    began: float = field(default_factory=machine_time)

    def extend_to(self, selection: SymbolSelection) -> bool:
        """Follow what is wanted now, too. False: it must begin anew, for that is too much beside
        what it follows, or other symbols of it. Where it has just begun it takes what it can."""
        followed = self.selection.symbols
        both = {**followed, **selection.symbols}
        if followed.items() - both.items():
            return False
        new = [pair for pair in selection.symbols if pair not in followed]
        room = MAX_PAIRS - len(followed)
        if len(new) > room and machine_time() - self.began >= REBUILD_EVERY:
            return False
        if more := {pair: both[pair] for pair in new[:room]}:
            self.stream.add_pairs(more)
        self.selection = replace(selection, symbols={**followed, **more})
        return True


class BrokerFeedManager:
    """The sources of accounts in some lanes. One thread uses it."""

    def __init__(self, lanes: Lanes, name: str = "") -> None:
        """lanes: which ones, asked at each look. name: of this process, for who looks."""
        self._lanes, self._name = lanes, name
        self._followed: dict[int, ActiveFeed] = {}
        self._retry_at: dict[int, float] = {}  # sources that are left alone until then
        self._reported: dict[
            int, tuple[SourceReport, float]
        ] = {}  # what was said of each, and when
        self._pending_reports: dict[int, SourceReport] = {}  # to be written

    @property
    def feeds(self) -> list[Feed]:
        """What is followed now."""
        return [one.feed for one in self._followed.values()]

    def maintain(self) -> None:
        """Follow what is to be followed now, let go of the rest, and write how each fares: in as
        many statements for all as for one.

        The trouble of one source is written on it and keeps none of the others. Raises database
        errors where it cannot be seen what is to be followed.
        """
        if get_loop() is None:
            return
        found = {source.pk: source for source in sources.sources_in_lanes(self._lanes())}
        for source_id in self._followed.keys() - found.keys():
            self._guarded(source_id, partial(self._close_feed, source_id))
        here = [
            one for one in found.values() if self._guarded(one.pk, partial(self._may_follow, one))
        ]
        selection = select_symbols(here)
        for source in here:
            assert source.broker_connection is not None  # as the filter says
            tend = partial(self._maintain, source, selection[source.pk])
            self._guarded(source.pk, tend, source.broker_connection.type)
        sources.record_source_status(*self._pending_reports.values(), by=self._name)
        self._pending_reports.clear()  # not before they are written

    def close(self) -> None:
        """Follow nothing any more: speak to no broker first, then carry what came."""
        ended, self._followed = self._followed, {}
        for followed in ended.values():
            followed.stream.close()
        for source_id, followed in ended.items():
            self._guarded(source_id, partial(_publish_rest, followed))

    def _guarded(self, source_id: int, work: Work, broker_type: str = "such") -> bool | None:
        """Do something for a source and return what came of it; after an error the source rests.
        broker_type: of its account."""
        try:
            return work()
        except DATABASE_ERRORS as error:
            log.warning("prices cannot be carried", source=source_id, error=repr(error))
            self._retry_at[source_id] = machine_time() + BACKOFF_SECONDS
            connections.close_all()  # a connection that broke is opened anew
        except Exception as error:  # settings, credentials or an adapter that are no good
            log.warning("prices cannot be followed", source=source_id, error=repr(error))
            if (followed := self._followed.pop(source_id, None)) is not None:
                followed.stream.close()
            explanation = explain(error, broker_type)
            self._back_off(source_id, explanation.code, explanation.message)
        return None

    def _may_follow(self, source: DataConnection) -> bool:
        """Whether a source may be followed now; one that may not any more is let go."""
        if self._retry_at.get(source.pk, 0.0) > machine_time():
            return False
        followed = self._followed.get(source.pk)
        if followed is not None and (
            followed.stream.is_over or followed.key != _opening_key(source)
        ):
            self._close_feed(source.pk)
            followed = None
        if why := sources.unavailable_reason(source, begins=followed is None):
            self._close_feed(source.pk)
            self._back_off(source.pk, *why)
        return not why

    def _maintain(self, source: DataConnection, selection: SymbolSelection) -> None:
        followed = self._followed.get(source.pk)
        if followed is not None and not followed.extend_to(selection):
            self._close_feed(source.pk)
            followed = None
        followed = followed or self._open_feed(source, selection)
        if followed is not None:
            followed.feed.publish_to_paper(sources.serves_paper(source))
            self._report(_report_of(source.pk, followed, selection))

    def _open_feed(self, source: DataConnection, selection: SymbolSelection) -> ActiveFeed | None:
        """Begin, or begin anew."""
        account, loop = source.broker_connection, get_loop()
        assert account is not None  # as the filter says
        if loop is None:  # this process ends
            return None
        if not selection.symbols:
            self._report(_report_without_stream(source.pk, selection))
            return None
        adapter, spec = adapter_for(account.type), spec_for(account)
        stream = BrokerStream(adapter, spec, account.lane, selection.symbols, loop)
        try:
            to_paper = sources.serves_paper(source)
            feed = open_live(source, stream, market_now(), to_paper=to_paper)
        except Exception:
            stream.close()
            raise
        followed = self._followed[source.pk] = ActiveFeed(
            feed, stream, _opening_key(source), selection
        )
        log.info(
            "prices followed", source=source.pk, kind=account.type, pairs=len(selection.symbols)
        )
        return followed

    def _close_feed(self, source_id: int) -> None:
        """End it. What came already is carried all the same."""
        if (followed := self._followed.pop(source_id, None)) is not None:
            followed.stream.close()
            _publish_rest(followed)

    def _back_off(self, source_id: int, code: Code, message: str) -> None:
        """Leave it alone for a while, and say why."""
        self._retry_at[source_id] = machine_time() + RETRY_SECONDS
        self._report(SourceReport(source_id, code=code, message=message))

    def _report(self, report: SourceReport) -> None:
        """Have it written how a source fares when that has changed, else now and then."""
        reported, at = self._reported.get(report.source_id, (None, 0.0))
        if report != reported or machine_time() - at >= REPORT_EVERY:
            self._reported[report.source_id] = report, machine_time()
            self._pending_reports[report.source_id] = report


def _publish_rest(followed: ActiveFeed) -> None:
    """Carry what came until its end."""
    followed.feed.step(market_now())


def _report_of(source_id: int, followed: ActiveFeed, selection: SymbolSelection) -> SourceReport:
    """What is written of a source that is followed. What nobody wants any more lacks nothing."""
    status, follows = followed.stream.status(), followed.selection.symbols.keys()
    lacks = {*selection.unlisted, *(selection.symbols.keys() - follows)}  # it is full
    return SourceReport(
        source_id, _is_alive(status), status.code, status.message,
        sorted({*follows, *lacks}), sorted({*status.missing} & selection.symbols.keys() | lacks),
    )  # fmt: skip


def _report_without_stream(source_id: int, selection: SymbolSelection) -> SourceReport:
    """What is written of a source of which nothing can be followed; without a code it waits."""
    if selection.unlisted:
        lacks = sorted(selection.unlisted)
        message = f"What is needed of it: {', '.join(lacks)}"
        return SourceReport(source_id, False, Code.UNKNOWN_SYMBOL_AT_BROKER, message, lacks, lacks)
    if selection.is_empty:
        message = "It lists nothing that can be traded: test the account that tells these prices."
        return SourceReport(source_id, code=Code.UNKNOWN_SYMBOL_AT_BROKER, message=message)
    return SourceReport(source_id)


def _is_alive(status: StreamStatus) -> bool:
    return (
        bool(status.last_confirmed_at)
        and machine_time() - status.last_confirmed_at < 2 * REPORT_EVERY
    )


def _opening_key(source: DataConnection) -> str:
    """An account with other settings or credentials is asked anew."""
    account = source.broker_connection
    assert account is not None
    return repr((
        source.settings, account.pk, account.settings, account.account, account.exchange_name,
        account.lane, account.credentials_changed_at, account.identity, account.instrument_book,
    ))  # fmt: skip
