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
from common.codes import Code
from connections import sources
from connections.explained import explain
from connections.models import DataConnection
from connections.selectors import spec_for
from connections.sources import Note
from prices.fares import Fares
from prices.feeding import Feed, LiveFeed, open_live
from prices.following import BrokerStream
from prices.loops import loop_of_process
from prices.wanted import MOST, Wanted, wanted_of

log = structlog.get_logger(__name__)
NOTE_EVERY = 5.0
AGAIN_SECONDS = 5.0  # after it could not be opened
ROOM_EVERY = 60.0  # so rarely all is begun anew to make room: meanwhile nothing may be told
REST = 1.0  # how long a source rests after an error of the database
BROKEN = (DatabaseError, psycopg.Error)  # the paper broker's books are psycopg's own

Lanes = Callable[[], Collection[str]]
Work = Callable[[], bool | None]


@dataclass(slots=True)
class Followed:
    """One source at work. key: what it was opened by."""

    feed: LiveFeed
    stream: BrokerStream
    key: str
    wanted: Wanted
    began: float = field(default_factory=machine_time)

    def takes(self, wanted: Wanted) -> bool:
        """Follow what is wanted now, too. False: it must begin anew, for that is too much beside
        what it follows, or other symbols of it. Where it has just begun it takes what it can."""
        followed = self.wanted.symbols
        both = {**followed, **wanted.symbols}
        if followed.items() - both.items():
            return False
        new = [pair for pair in wanted.symbols if pair not in followed]
        room = MOST - len(followed)
        if len(new) > room and machine_time() - self.began >= ROOM_EVERY:
            return False
        if more := {pair: both[pair] for pair in new[:room]}:
            self.stream.follow_also(more)
        self.wanted = replace(wanted, symbols={**followed, **more})
        return True


class Live:
    """The sources of accounts in some lanes. One thread uses it."""

    def __init__(self, lanes: Lanes, name: str = "") -> None:
        """lanes: which ones, asked at each look. name: of this process, for who looks."""
        self._lanes, self._name = lanes, name
        self._followed: dict[int, Followed] = {}
        self._wait: dict[int, float] = {}  # sources that are left alone until then
        self._noted: dict[int, tuple[Note, float]] = {}  # what was said of each, and when
        self._notes: dict[int, Note] = {}  # to be written

    @property
    def feeds(self) -> list[Feed]:
        """What is followed now."""
        return [one.feed for one in self._followed.values()]

    def tend(self) -> None:
        """Follow what is to be followed now, let go of the rest, and write how each fares: in as
        many statements for all as for one.

        The trouble of one source is written on it and keeps none of the others. Raises database
        errors where it cannot be seen what is to be followed.
        """
        if loop_of_process() is None:
            return
        found = {source.pk: source for source in sources.followed_here(self._lanes())}
        for source_id in self._followed.keys() - found.keys():
            self._guarded(source_id, partial(self._let_go, source_id))
        here = [one for one in found.values() if self._guarded(one.pk, partial(self._may, one))]
        wanted = wanted_of(here)
        for source in here:
            assert source.told_by is not None  # as the filter says
            tend = partial(self._tend, source, wanted[source.pk])
            self._guarded(source.pk, tend, source.told_by.type)
        sources.note(*self._notes.values(), by=self._name)
        self._notes.clear()  # not before they are written

    def close(self) -> None:
        """Follow nothing any more: speak to no broker first, then carry what came."""
        ended, self._followed = self._followed, {}
        for followed in ended.values():
            followed.stream.close()
        for source_id, followed in ended.items():
            self._guarded(source_id, partial(_carry, followed))

    def _guarded(self, source_id: int, work: Work, kind: str = "such") -> bool | None:
        """Do something for a source and return what came of it; after an error the source rests.
        kind: of its account."""
        try:
            return work()
        except BROKEN as error:
            log.warning("prices cannot be carried", source=source_id, error=repr(error))
            self._wait[source_id] = machine_time() + REST
            connections.close_all()  # a connection that broke is opened anew
        except Exception as error:  # settings, credentials or an adapter that are no good
            log.warning("prices cannot be followed", source=source_id, error=repr(error))
            if (followed := self._followed.pop(source_id, None)) is not None:
                followed.stream.close()
            why = explain(error, kind)
            self._stay_away(source_id, why.code, why.said)
        return None

    def _may(self, source: DataConnection) -> bool:
        """Whether a source may be followed now; one that may not any more is let go."""
        if self._wait.get(source.pk, 0.0) > machine_time():
            return False
        followed = self._followed.get(source.pk)
        if followed is not None and (followed.stream.is_over or followed.key != _key(source)):
            self._let_go(source.pk)
            followed = None
        if why := sources.why_not(source, begins=followed is None):
            self._let_go(source.pk)
            self._stay_away(source.pk, *why)
        return not why

    def _tend(self, source: DataConnection, wanted: Wanted) -> None:
        followed = self._followed.get(source.pk)
        if followed is not None and not followed.takes(wanted):
            self._let_go(source.pk)
            followed = None
        followed = followed or self._follow(source, wanted)
        if followed is not None:
            followed.feed.tell_paper(sources.feeds_paper(source))
            self._note(_how(source.pk, followed, wanted))

    def _follow(self, source: DataConnection, wanted: Wanted) -> Followed | None:
        """Begin, or begin anew."""
        account, loop = source.told_by, loop_of_process()
        assert account is not None  # as the filter says
        if loop is None:  # this process ends
            return None
        if not wanted.symbols:
            self._note(_nothing_of(source.pk, wanted))
            return None
        adapter, spec = adapter_for(account.type), spec_for(account)
        stream = BrokerStream(adapter, spec, account.lane, wanted.symbols, loop)
        try:
            to_paper = sources.feeds_paper(source)
            feed = open_live(source, stream, market_now(), to_paper=to_paper)
        except Exception:
            stream.close()
            raise
        followed = self._followed[source.pk] = Followed(feed, stream, _key(source), wanted)
        log.info("prices followed", source=source.pk, kind=account.type, pairs=len(wanted.symbols))
        return followed

    def _let_go(self, source_id: int) -> None:
        """End it. What came already is carried all the same."""
        if (followed := self._followed.pop(source_id, None)) is not None:
            followed.stream.close()
            _carry(followed)

    def _stay_away(self, source_id: int, code: Code, words: str) -> None:
        """Leave it alone for a while, and say why."""
        self._wait[source_id] = machine_time() + AGAIN_SECONDS
        self._note(Note(source_id, code=code, words=words))

    def _note(self, note: Note) -> None:
        """Have it written how a source fares when that has changed, else now and then."""
        said, at = self._noted.get(note.source_id, (None, 0.0))
        if note != said or machine_time() - at >= NOTE_EVERY:
            self._noted[note.source_id] = note, machine_time()
            self._notes[note.source_id] = note


def _carry(followed: Followed) -> None:
    """Carry what came until its end."""
    followed.feed.step(market_now())


def _how(source_id: int, followed: Followed, wanted: Wanted) -> Note:
    """What is written of a source that is followed. What nobody wants any more lacks nothing."""
    fares, follows = followed.stream.fares(), followed.wanted.symbols.keys()
    lacks = {*wanted.unlisted, *(wanted.symbols.keys() - follows)}  # it is full
    return Note(
        source_id, _is_there(fares), fares.code, fares.words,
        sorted({*follows, *lacks}), sorted({*fares.missing} & wanted.symbols.keys() | lacks),
    )  # fmt: skip


def _nothing_of(source_id: int, wanted: Wanted) -> Note:
    """What is written of a source of which nothing can be followed; without a code it waits."""
    if wanted.unlisted:
        lacks = sorted(wanted.unlisted)
        words = f"What is needed of it: {', '.join(lacks)}"
        return Note(source_id, False, Code.UNKNOWN_SYMBOL_AT_BROKER, words, lacks, lacks)
    if wanted.is_empty:
        words = "It lists nothing that can be traded: test the account that tells these prices."
        return Note(source_id, code=Code.UNKNOWN_SYMBOL_AT_BROKER, words=words)
    return Note(source_id)


def _is_there(fares: Fares) -> bool:
    return bool(fares.told_at) and machine_time() - fares.told_at < 2 * NOTE_EVERY


def _key(source: DataConnection) -> str:
    """An account with other settings or credentials is asked anew."""
    account = source.told_by
    assert account is not None
    return repr((
        source.settings, account.pk, account.settings, account.account, account.exchange_name,
        account.lane, account.credentials_changed_at, account.identity, account.instrument_book,
    ))  # fmt: skip
