"""Which accounts' prices this process follows, as accounts, lanes and wishes come and go."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
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
from connections.models import DataConnection, ExecutionConnection
from connections.selectors import spec_for
from prices.fares import Fares
from prices.feeding import Feed, open_live
from prices.following import BrokerStream
from prices.loops import loop_of_process
from prices.wanted import wanted_of

log = structlog.get_logger(__name__)
NOTE_EVERY = 5.0
AGAIN_SECONDS = 5.0  # after it could not be opened
REST = 1.0  # how long a source rests after an error of the database
BROKEN = (DatabaseError, psycopg.Error)  # the paper broker's books are psycopg's own

Lanes = Callable[[], Collection[str]]


@dataclass(slots=True)
class Followed:
    """One source at work. key: what it was opened by."""

    feed: Feed
    stream: BrokerStream
    key: str
    wanted: dict[str, str]
    noted: tuple[object, ...] = ()
    noted_at: float = float("-inf")


class Live:
    """The sources of accounts in some lanes. One thread uses it."""

    def __init__(self, lanes: Lanes, name: str = "") -> None:
        """lanes: which ones, asked at each look. name: of this process, for who looks."""
        self._lanes, self._name = lanes, name
        self._followed: dict[int, Followed] = {}
        self._wait: dict[int, float] = {}

    @property
    def feeds(self) -> list[Feed]:
        """What is followed now."""
        return [one.feed for one in self._followed.values()]

    def tend(self) -> None:
        """Follow what is to be followed now, let go of the rest, and write how each fares.

        The trouble of one source is written on it and keeps none of the others. Raises database
        errors where it cannot be seen what is to be followed.
        """
        if loop_of_process() is None:
            return
        found = {source.pk: source for source in sources.followed_here(self._lanes())}
        for source_id in self._followed.keys() - found.keys():
            self._guarded(source_id, partial(self._let_go, source_id))
        for source in found.values():
            error = self._guarded(source.pk, partial(self._tend, source))
            if error is not None and not isinstance(error, BROKEN):
                self._guarded(source.pk, partial(self._give_up, source, error))

    def close(self) -> None:
        """Follow nothing any more: speak to no broker first, then carry what came."""
        ended, self._followed = self._followed, {}
        for followed in ended.values():
            followed.stream.close()
        for source_id, followed in ended.items():
            self._guarded(source_id, partial(_carry, followed))

    def _guarded(self, source_id: int, work: Callable[[], None]) -> Exception | None:
        """Do something for a source; after an error, which it returns, let the source rest."""
        try:
            work()
        except Exception as error:  # settings, credentials or an adapter that are no good, too
            log.warning("prices cannot be followed", source=source_id, error=repr(error))
            seconds = AGAIN_SECONDS
            if isinstance(error, BROKEN):
                seconds = REST
                connections.close_all()  # a connection that broke is opened anew
            self._wait[source_id] = machine_time() + seconds
            return error
        return None

    def _give_up(self, source: DataConnection, error: Exception) -> None:
        self._let_go(source.pk)
        assert source.told_by is not None  # as the filter says
        why = explain(error, source.told_by.type)
        self._say(source.pk, why.code, why.said)

    def _tend(self, source: DataConnection) -> None:
        if self._wait.get(source.pk, 0.0) > machine_time():
            return
        followed = self._followed.get(source.pk)
        if followed is not None and (followed.stream.is_over or followed.key != _key(source)):
            self._let_go(source.pk)
            followed = None
        if why := sources.why_not(source, begins=followed is None):
            self._let_go(source.pk)
            self._wait[source.pk] = machine_time() + AGAIN_SECONDS
            self._say(source.pk, *why)
            return
        wanted = wanted_of(source)
        if followed is None or wanted.items() - followed.wanted.items():
            followed = self._follow(source, wanted)
        if followed is not None:
            self._note(source.pk, followed)

    def _follow(self, source: DataConnection, wanted: dict[str, str]) -> Followed | None:
        """Begin, or begin anew with more pairs, or other symbols of them."""
        self._let_go(source.pk)
        account, loop = source.told_by, loop_of_process()
        assert account is not None  # as the filter says
        if loop is None:  # this process ends
            return None
        if not wanted:
            self._say(source.pk, Code.QUOTE_MISSING, "Nothing that its broker lists is needed.")
            return None
        stream = BrokerStream(
            adapter_for(account.type), spec_for(account), account.lane, wanted, loop
        )
        feed = open_live(source, stream, market_now(), to_paper=feeds_paper(source))
        followed = Followed(feed, stream, _key(source), wanted)
        self._followed[source.pk] = followed
        log.info("prices followed", source=source.pk, kind=account.type, pairs=len(wanted))
        return followed

    def _let_go(self, source_id: int) -> None:
        """End it. What came already is carried all the same."""
        if (followed := self._followed.pop(source_id, None)) is not None:
            followed.stream.close()
            _carry(followed)

    def _note(self, source_id: int, followed: Followed) -> None:
        """Write how it fares when that has changed, else now and then."""
        fares, now = followed.stream.fares(), machine_time()
        said = fares.code, fares.words, fares.missing, bool(fares.told_at)
        if said == followed.noted and now - followed.noted_at < NOTE_EVERY:
            return
        followed.noted, followed.noted_at = said, now
        sources.note(
            source_id, told=_is_there(fares, now), code=fares.code, words=fares.words,
            pairs=sorted(followed.wanted), missing=sorted(fares.missing), by=self._name,
        )  # fmt: skip

    def _say(self, source_id: int, code: Code, words: str) -> None:
        sources.note(source_id, told=False, code=code, words=words, by=self._name)


def _carry(followed: Followed) -> None:
    """Carry what came until its end."""
    followed.feed.step(market_now())


def _is_there(fares: Fares, now: float) -> bool:
    return bool(fares.told_at) and now - fares.told_at < 2 * NOTE_EVERY


def _key(source: DataConnection) -> str:
    """An account with other settings or credentials is asked anew."""
    account = source.told_by
    assert account is not None
    return repr((
        source.settings, account.pk, account.settings, account.account, account.exchange_name,
        account.lane, account.credentials_changed_at, account.identity, account.instrument_book,
        feeds_paper(source),
    ))  # fmt: skip


def feeds_paper(source: DataConnection) -> bool:
    """Whether the paper broker trades on these prices: operators offer them to all, and some paper
    account uses them. Its prices are everybody's: a tenant's own source does not move them."""
    return (
        source.user_id is None
        and ExecutionConnection.objects.live().filter(type="paper", data_connection=source).exists()
    )
