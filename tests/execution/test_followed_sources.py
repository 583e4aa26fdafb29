"""Many price sources at once: a failure stays with its source, and the cost does not grow."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError
from django.db import connection as database

from brokers.paper import exchange
from brokers.paper.db_sessions import sessions
from brokers.paper.models import PaperQuote
from brokers.types import Quote
from common.clocks import market_now
from common.db.functions import ClockTimestamp
from connections.market_data.source_status import source_status, with_status
from connections.models import (
    ConnectionHealth,
    DataConnection,
    ExecutionConnection,
    Instrument,
    SourceHealth,
)
from prices.broker_feeds import BrokerFeedManager
from prices.feed_runner import run
from prices.models import LatestQuote
from prices.signals import prices_started, prices_stopped
from signals.models import Feed
from tests.connections import make
from tests.execution import factories
from tests.execution.test_price_sources import asked
from tests.prices.fake_price_broker import quote, until
from tests.prices.fake_price_broker import threaded_loop as loop

__all__ = ["asked", "loop"]
pytestmark = pytest.mark.django_db(transaction=True)

BREAKS = "PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(5)"
REFUSES = "RAISE 'no room is left'"


def sources(number: int, feed: Feed | None = None) -> list[DataConnection]:
    """Return sources of accounts that use their own broker's prices."""
    found = []
    for _ in range(number):
        account = factories.account(feed)
        found.append(
            DataConnection.objects.create(name="own", kind="broker", broker_connection=account)
        )
        ExecutionConnection.objects.filter(pk=account.pk).update(data_connection=found[-1])
    return found


@pytest.fixture
def two(feed: Feed, asked: list[str]) -> list[DataConnection]:
    return sources(2)


@pytest.fixture
def live(asked: list[str]) -> BrokerFeedManager:
    return BrokerFeedManager(lambda: [""])


@pytest.fixture(params=[REFUSES, BREAKS], ids=["refuses", "breaks"])
def bad(two: list[DataConnection], request: pytest.FixtureRequest) -> Iterator[DataConnection]:
    """Make storing the first source's prices fail: rejected, or the connection breaks."""
    with database.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION be_bad() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN {request.param}; RETURN NEW; END $$;"
            " CREATE TRIGGER be_bad BEFORE INSERT ON prices_latestquote FOR EACH ROW"
            f" WHEN (NEW.data_connection_id = {two[0].pk}) EXECUTE FUNCTION be_bad()"
        )
    yield two[0]
    database.close()  # it may have broken
    with database.cursor() as cursor:
        cursor.execute("DROP TRIGGER be_bad ON prices_latestquote; DROP FUNCTION be_bad")


def moved(last: Quote, at: datetime) -> Quote:
    """Return the next quote: both of its sides have moved, so that it confirms a first one."""
    step = D("0.00001")
    return replace(last, bid=last.bid + step, ask=last.ask + step, time=at)


def have_come(live: BrokerFeedManager) -> bool:
    """Return whether each source has prices that were not passed on yet. The first quote of a pair
    counts with its second one, which comes here."""
    streams = [one.stream for one in live._followed.values()]
    if not all(stream.status().last_confirmed_at for stream in streams):
        return False
    for stream in streams:
        for last in list(stream._intake.last.values()):
            later = last.time + timedelta(milliseconds=1)
            stream._intake.accept(moved(last, later))
    return True


def test_source_with_unstorable_prices_does_not_delay_the_next(
    bad: DataConnection, two: list[DataConnection], live: BrokerFeedManager
) -> None:
    live.maintain()
    until(lambda: have_come(live))
    DataConnection.objects.filter(pk=bad.pk).update(settings={"symbols": ["EUR/USD"]})
    good = two[1]
    ExecutionConnection.objects.filter(price_source=good).update(is_active=False)
    live.maintain()  # both are dropped; the first cannot store its quotes
    assert list(live._followed) == []
    assert LatestQuote.objects.filter(data_connection=good).exists()
    live._retry_at.clear()  # a second later
    live.maintain()
    assert list(live._followed) == [bad.pk]


def test_removed_source_with_unstorable_prices_does_not_delay_the_next(
    bad: DataConnection, two: list[DataConnection], live: BrokerFeedManager
) -> None:
    live.maintain()
    until(lambda: have_come(live))
    DataConnection.objects.filter(pk=bad.pk).update(is_active=False)
    DataConnection.objects.filter(pk=two[1].pk).update(settings={"symbols": ["EUR/USD"]})
    before = live._followed[two[1].pk]
    live.maintain()
    assert list(live._followed) == [two[1].pk]
    assert live._followed[two[1].pk] is not before  # it was maintained: its settings are new


def test_source_that_is_let_go_has_no_suspect_price(
    two: list[DataConnection], live: BrokerFeedManager
) -> None:
    """No process reports on it any more, so that the alarm would not end."""
    live.maintain()
    until(lambda: have_come(live))
    SourceHealth.objects.update(suspects=["EUR/USD"], suspect_since=ClockTimestamp())
    DataConnection.objects.filter(pk=two[0].pk).update(is_active=False)
    live.maintain()
    gone = SourceHealth.objects.get(source=two[0])
    assert (gone.suspects, gone.suspect_since) == ([], None)
    assert gone.pairs, "what it followed is kept"


def test_quote_held_back_survives_the_replacement_of_its_stream(
    two: list[DataConnection], live: BrokerFeedManager
) -> None:
    """Settings changed, or more pairs are needed: a gap still acts after its second of silence."""
    live.maintain()
    until(lambda: have_come(live))
    before, other = (live._followed[one.pk].stream for one in two)
    assert before._intake.accept(quote("0.9"))
    assert before.take_held().count == 1
    ExecutionConnection.objects.filter(price_source=two[0]).update(settings={"anything": 1})
    live.maintain()
    after = live._followed[two[0].pk].stream
    assert after is not before
    assert after._intake.judged()._pairs["EUR/USD"].held
    assert live._followed[two[1].pk].stream is other
    DataConnection.objects.filter(pk=two[0].pk).update(is_active=False)
    live.maintain()
    live.maintain()
    assert live._judged == {}, "of a source that is gone nothing is kept"


def test_all_streams_end_although_one_raises(
    bad: DataConnection, two: list[DataConnection], live: BrokerFeedManager
) -> None:
    live.maintain()
    until(lambda: have_come(live))
    streams = [one.stream for one in live._followed.values()]
    live.close()
    until(lambda: all(one.is_over for one in streams))
    assert live.feeds == []
    assert LatestQuote.objects.filter(data_connection=two[1]).exists()


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the statements that the driver gets from now on."""
    recorded: list[str] = []
    execute = psycopg.Cursor.execute

    def listen(self: Any, query: Any, *arguments: Any, **named: Any) -> Any:
        recorded.append(str(query))
        return execute(self, query, *arguments, **named)

    monkeypatch.setattr(psycopg.Cursor, "execute", listen)
    return recorded


@pytest.mark.parametrize(("few", "expected"), [(50, 6), (0, 9)], ids=["short books", "long ones"])
def test_number_of_statements_does_not_grow_with_sources(
    feed: Feed, live: BrokerFeedManager, statements: list[str], monkeypatch: pytest.MonkeyPatch,
    few: int, expected: int,
) -> None:  # fmt: skip
    monkeypatch.setattr("prices.symbol_selection.SHORT_BOOK_PAIRS", few)
    monkeypatch.setattr(
        "prices.broker_feeds.REPORT_EVERY", 0.0
    )  # the status of each is written each time
    counts = []
    for more in (1, 19):
        sources(more, feed)
        factories.signal(feed)
        live.maintain()
        statements.clear()
        live.maintain()
        counts.append(len(statements))
    assert len(live._followed) == 20
    assert counts == [expected, expected]


@pytest.mark.parametrize(
    ("names", "listed", "code", "pairs"),
    [
        (["EURUSD"], True, "UNKNOWN_SYMBOL_AT_BROKER", ["EURUSD"]),  # not a pair's name
        ([], False, "UNKNOWN_SYMBOL_AT_BROKER", []),
        ([], True, "", ["EUR/USD"]),
    ],
    ids=["named wrongly", "nothing is listed", "well"],
)
def test_source_that_cannot_provide_a_symbol_reports_it(
    two: list[DataConnection], live: BrokerFeedManager, names: list[str], listed: bool, code: str,
    pairs: list[str],
) -> None:  # fmt: skip
    source = two[0]
    DataConnection.objects.filter(pk=source.pk).update(settings={"symbols": names})
    if not listed:
        Instrument.objects.all().delete()
    live.maintain()
    state = SourceHealth.objects.get(source=source)
    assert (state.error_code, state.pairs) == (code, pairs)
    status = with_status(DataConnection.objects.all()).get(pk=source.pk)
    assert source_status(status, datetime.now(UTC)).is_well == (code == "")


def test_additional_pair_is_followed_by_the_existing_stream(
    two: list[DataConnection], live: BrokerFeedManager
) -> None:
    source = two[0]
    account = ExecutionConnection.objects.get(price_source=source)
    listed = Instrument.objects.get(book=account.instrument_book, pair="EUR/USD")
    live.maintain()
    before = live._followed[source.pk].stream
    listed.pk, listed.pair, listed.symbol = None, "GBP/USD", "GBPUSD"
    listed.save(force_insert=True)
    live.maintain()
    assert live._followed[source.pk].stream is before
    assert SourceHealth.objects.get(source=source).pairs == ["EUR/USD", "GBP/USD"]
    assert "GBP/USD" in SourceHealth.objects.get(source=source).missing
    Instrument.objects.filter(pair="GBP/USD").update(is_preferred=False)  # or not listed any more
    live.maintain()
    assert "GBP/USD" not in SourceHealth.objects.get(source=source).missing
    Instrument.objects.filter(pair="GBP/USD").update(is_preferred=True, symbol="GBPUSD.x")
    live.maintain()
    assert live._followed[source.pk].stream is not before  # another symbol: a new stream


def test_source_that_cannot_be_opened_leaves_no_stream_behind(
    two: list[DataConnection], live: BrokerFeedManager, loop: asyncio.AbstractEventLoop
) -> None:
    with database.cursor() as cursor:
        cursor.execute("ALTER TABLE prices_latestquote RENAME TO away")
    live.maintain()
    with database.cursor() as cursor:
        cursor.execute("ALTER TABLE away RENAME TO prices_latestquote")
    assert live.feeds == []
    until(lambda: not asyncio.all_tasks(loop))


def test_source_status_that_could_not_be_stored_is_stored_again(
    two: list[DataConnection], live: BrokerFeedManager
) -> None:
    with database.cursor() as cursor:
        cursor.execute("ALTER TABLE connections_sourcehealth RENAME TO away")
    with pytest.raises(DatabaseError):
        live.maintain()
    with database.cursor() as cursor:
        cursor.execute("ALTER TABLE away RENAME TO connections_sourcehealth")
    live.maintain()
    assert SourceHealth.objects.filter(source__in=two).count() == 2


def test_working_stream_continues_while_its_account_is_failing(
    two: list[DataConnection], live: BrokerFeedManager
) -> None:
    """A failed account's stream goes on, since its prices guard stops; none is started."""
    source, fails = two
    of_both = ConnectionHealth.objects.filter(connection__price_source__in=two)
    later = {"circuit_open_until": datetime.now(UTC) + timedelta(hours=1)}
    of_both.filter(connection__price_source=fails).update(**later)
    live.maintain()
    before = live._followed[source.pk].stream
    of_both.update(**later)
    live.maintain()
    assert {pk: one.stream for pk, one in live._followed.items()} == {source.pk: before}
    codes = SourceHealth.objects.values_list("source_id", "error_code")
    assert dict(codes) == {source.pk: "", fails.pk: "CONNECTION_ERROR"}


def database_elsewhere() -> "psycopg.Connection[Any]":
    parameters = database.get_connection_params()
    names = ("dbname", "user", "password", "host", "port")
    return psycopg.connect(**{name: parameters[name] for name in names if name in parameters})


@pytest.fixture
def paper() -> Iterator[None]:
    """The paper broker's own connections to the database are closed at the end."""
    yield
    sessions.close()


def test_blocked_paper_broker_does_not_delay_broker_prices(
    two: list[DataConnection], paper: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The paper broker's books are locked for long."""
    for signal in (prices_started, prices_stopped):
        monkeypatch.setattr(signal, "receivers", [])
    monkeypatch.setattr("brokers.paper.db_sessions.MAX_ATTEMPTS", 200)
    exchange.list_instruments()
    recorded = DataConnection.objects.create(name="Static", kind=DataConnection.Kind.STATIC)
    stop = threading.Event()
    with ThreadPoolExecutor(1) as threads, database_elsewhere() as other:
        other.execute("LOCK TABLE paper_quote IN EXCLUSIVE MODE")
        ended = threads.submit(run, stop)
        try:
            own = LatestQuote.objects.filter(data_connection__in=two)
            until(lambda: own.count() == 2)
            assert not LatestQuote.objects.filter(data_connection=recorded).exists()
        finally:
            other.rollback()
            stop.set()
    assert ended.result() >= 2


def test_first_paper_account_of_a_followed_source_gets_its_prices(
    two: list[DataConnection], paper: None, live: BrokerFeedManager
) -> None:
    source = two[0]
    live.maintain()
    until(lambda: have_come(live))
    live._followed[source.pk].feed.step(market_now())
    assert LatestQuote.objects.filter(data_connection=source).exists()
    assert not PaperQuote.objects.exists()
    exchange.list_instruments()
    before = live._followed[source.pk].stream
    make.connection(data_connection=source)

    def paper_has_quote() -> bool:
        live.maintain()
        for feed in live.feeds:
            feed.step(market_now())
        return PaperQuote.objects.filter(symbol="EURUSD").exists()

    until(paper_has_quote)
    assert live._followed[source.pk].stream is before  # real accounts' prices have no gap
