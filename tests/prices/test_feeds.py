"""From a source to the paper broker, the store and the rooms above; and the processes for it."""

import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from decimal import Decimal as D
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import ProgrammingError, connection

from brokers.paper.models import PaperQuote
from brokers.types import Quote
from common.clocks import machine_time, market_now, set_market_clock
from common.errors import MisconfiguredError
from connections.market_data.sources import get_or_create_broker_source
from connections.models import DataConnection
from connections.session_lanes import GENERAL
from prices.broker_feeds import BrokerFeedManager
from prices.feed_runner import FIND_SOURCES_EVERY, MAINTAIN_EVERY, FeedRunner, pause_after, run
from prices.feeds import Feed, open_feed, open_live
from prices.models import LatestQuote
from prices.recorded_streams import StaticStream, stream_for
from prices.selectors import latest
from prices.signals import prices_started, prices_stopped, quotes_arrived, quotes_stored
from tests.connections import make
from tests.prices.sources import Source, at, quote, received_batches, source, stand_at
from tests.until import until

__all__ = ["received_batches", "source"]
pytestmark = pytest.mark.usefixtures("inline_commits")


@pytest.mark.django_db(transaction=True)
def test_every_quote_is_published_and_last_one_stored(
    source: DataConnection, received_batches: list[list[Quote]]
) -> None:
    quotes = [quote("1.10", 1), quote("1.05", 2), quote("1.12", 3), quote("1300", 3, "XAU/USD")]
    feed = Feed(source.pk, "Recorded", Source(*quotes))
    assert feed.step(at(100)) == 4
    assert feed.step(at(100)) == 0
    assert received_batches == [quotes]
    assert latest(source.pk) == {"EUR/USD": quotes[2], "XAU/USD": quotes[3]}
    assert PaperQuote.objects.get(symbol="EURUSD").bid == D("1.12")


@pytest.mark.django_db(transaction=True)
def test_quote_is_published_again_after_error(
    source: DataConnection, received_batches: list[list[Quote]]
) -> None:
    stream = Source(quote("1.10", 1))
    feed = Feed(source.pk, "Recorded", stream)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE paper_quote RENAME TO paper_quote_away")
    try:
        with pytest.raises(psycopg.errors.UndefinedTable):
            feed.step(at(100))
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE paper_quote_away RENAME TO paper_quote")
    assert received_batches == []
    stream.coming = [quote("1.20", 2)]
    assert feed.step(at(100)) == 2
    assert [q.bid for q in received_batches[0]] == [D("1.10"), D("1.20")]


@pytest.mark.parametrize("is_live", [False, True])
def test_quotes_are_sent_for_exits_once_and_before_they_are_stored(
    source: DataConnection, received_batches: list[list[Quote]], is_live: bool
) -> None:
    arrived: list[list[Quote]] = []

    def judge(quotes: list[Quote], **_: object) -> None:
        arrived.append(quotes)

    quotes_arrived.connect(judge)
    first, second = quote("1.10", 100), quote("1.20", 100)
    stream = Source(first)
    feed: Feed = Feed(source.pk, "Recorded", stream)
    if is_live:
        feed = open_live(source, stream, at(100), to_paper=False)
    try:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE prices_pricebar RENAME TO prices_pricebar_away")
        try:
            with pytest.raises(ProgrammingError):
                feed.step(at(100))
        finally:
            with connection.cursor() as cursor:
                cursor.execute("ALTER TABLE prices_pricebar_away RENAME TO prices_pricebar")
        assert (arrived, received_batches) == ([[first]], [])
        stream.coming = [second]
        assert feed.step(at(100)) == 2
    finally:
        quotes_arrived.disconnect(judge)
    assert (arrived, received_batches) == ([[first], [second]], [[first, second]])


def test_failing_receiver_does_not_stop_prices(
    source: DataConnection, received_batches: list[list[Quote]]
) -> None:
    def broken(**_: object) -> None:
        raise RuntimeError("a bug upstairs")

    quotes_stored.connect(broken)
    try:
        feed = Feed(source.pk, "Recorded", Source(quote("1.10", 1)))
        assert feed.step(at(100)) == 1
    finally:
        quotes_stored.disconnect(broken)
    assert len(received_batches) == 1


def test_replay_resumes_at_its_position(source: DataConnection) -> None:
    feed = open_feed(source, at(100))
    assert feed is not None
    assert feed.step(at(100)) == 3  # the prices then in force, of three symbols
    assert {q.time for q in latest(source.pk).values()} == {at(100)}
    stand_at(160)
    again = open_feed(source, at(160))  # another process
    assert again is not None
    expected = [q for q in recorded() if at(100) < q.time <= at(160)]
    assert again.step(at(160)) == len(expected) == 58


def recorded() -> list[Quote]:
    from prices.recordings import DATA, DEFAULT_FILE, read_quotes

    return list(read_quotes(DATA / DEFAULT_FILE))


@pytest.mark.django_db(transaction=True)
def test_restarted_replay_forgets_later_prices(source: DataConnection) -> None:
    feed = open_feed(source, at(1000))
    assert feed is not None
    stand_at(1000)
    feed.step(at(1000))
    stand_at(100)
    again = open_feed(source, at(100))
    assert again is not None
    assert latest(source.pk) == {}
    assert PaperQuote.objects.count() == 0
    again.step(at(100))
    assert {q.time for q in latest(source.pk).values()} == {at(100)}
    assert set(PaperQuote.objects.values_list("time", flat=True)) == {at(100)}


def test_static_prices_repeat_each_second(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = [100.0]
    monkeypatch.setattr("prices.recorded_streams.machine_time", lambda: machine[0])
    stream = StaticStream({"EUR/USD": ("1.1", "1.2")})
    assert stream.due(at(0)) == [Quote("EUR/USD", D("1.1"), D("1.2"), at(0))]
    machine[0] += 0.99
    assert stream.due(at(60)) == []
    machine[0] += 0.01
    assert stream.due(at(60)) == [Quote("EUR/USD", D("1.1"), D("1.2"), at(60))]


@pytest.mark.parametrize(
    "quotes", [{"EUR/USD": ["1.1"]}, {"EUR/USD": ["x", "1"]}, [1], {"EUR/USD": [1.5, 2.5]}]
)
def test_malformed_static_prices_are_named(source: DataConnection, quotes: Any) -> None:
    source.kind, source.settings = DataConnection.Kind.STATIC, {"quotes": quotes}
    with pytest.raises(MisconfiguredError, match="Recorded: quotes must be"):
        stream_for(source, None)


@pytest.mark.django_db(transaction=True)
def test_broker_source_is_no_recording(source: DataConnection) -> None:
    """It is followed live, by its account: tests/prices/test_broker_stream.py."""
    account = make.connection(type="mt4")
    broker_source = get_or_create_broker_source(account)
    assert open_feed(broker_source, at(0)) is None
    with pytest.raises(CommandError, match="come from a broker"):
        call_command("replay_market", "--data-connection", broker_source.name, stderr=StringIO())


@pytest.mark.django_db(transaction=True)
def test_one_broken_source_does_not_stop_the_others(source: DataConnection) -> None:
    DataConnection.objects.create(name="Broken", settings={"file": "nothing.csv.gz"})
    DataConnection.objects.create(name="Odd", settings=["quotes-2014.csv.gz"])
    off = DataConnection.objects.create(name="Off", is_active=False)
    static = DataConnection.objects.create(name="Static", kind=DataConnection.Kind.STATIC)
    FeedRunner().step()
    assert set(LatestQuote.objects.values_list("data_connection_id", flat=True)) == {
        source.pk, static.pk,
    }  # fmt: skip
    assert latest(off.pk) == {}
    assert {q.time for q in latest(static.pk).values()} == {market_now()}


def test_sources_come_and_go_while_it_runs(
    source: DataConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prices.feed_runner.FIND_SOURCES_EVERY", 0.0)
    runner = FeedRunner()
    runner.step()
    assert len(latest(source.pk)) == 3
    DataConnection.objects.filter(pk=source.pk).update(is_active=False)
    stand_at(110)
    runner.step()
    assert {q.time for q in latest(source.pk).values()} == {at(100)}
    DataConnection.objects.filter(pk=source.pk).update(is_active=True)
    runner.step()
    assert at(100) < latest(source.pk)["EUR/USD"].time <= at(110)


def test_runner_waits_without_an_open_source_and_never_with_one(
    source: DataConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = machine_time()
    monkeypatch.setattr("prices.feed_runner.machine_time", lambda: now)
    sources = DataConnection.objects.filter(pk=source.pk)
    sources.update(is_active=False)
    recorded, live = FeedRunner(), FeedRunner(BrokerFeedManager(lambda: (GENERAL,)))
    assert (recorded.seconds_without_sources(), live.seconds_without_sources()) == (0.0, 0.0)
    recorded.step()
    live.step()
    assert recorded.seconds_without_sources() == pytest.approx(FIND_SOURCES_EVERY)
    assert live.seconds_without_sources() == pytest.approx(MAINTAIN_EVERY)
    sources.update(is_active=True)
    opened = FeedRunner()
    opened.step()
    assert opened.seconds_without_sources() == 0.0


def test_receivers_are_called_without_quotes_too(
    source: DataConnection, received_batches: list[list[Quote]]
) -> None:
    FeedRunner().step()
    assert received_batches[-1] == []


@pytest.mark.django_db(transaction=True)
def test_run_sends_start_and_stop_signals(
    source: DataConnection, received_batches: list[list[Quote]], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    stop = threading.Event()

    def on_start(**_: object) -> None:
        assert received_batches == []
        calls.append("started")

    def on_quotes(**_: object) -> None:
        calls.append("quotes")
        stop.set()

    def on_end(**_: object) -> None:
        calls.append("stopped")

    for django_signal, receiver in (
        (prices_started, on_start), (quotes_stored, on_quotes), (prices_stopped, on_end),
    ):  # fmt: skip
        monkeypatch.setattr(django_signal, "receivers", [])  # only ours
        django_signal.connect(receiver)
    run(stop)
    assert calls[0] == "started"
    assert calls[-1] == "stopped"
    assert set(calls[1:-1]) == {"quotes"}


@pytest.mark.django_db(transaction=True)
def test_command_sends_start_and_stop_signals_once(
    source: DataConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def on_start(**_: object) -> None:
        calls.append("started")
        os.kill(os.getpid(), signal.SIGTERM)

    def on_end(**_: object) -> None:
        calls.append("stopped")

    for django_signal, receiver in ((prices_started, on_start), (prices_stopped, on_end)):
        monkeypatch.setattr(django_signal, "receivers", [])  # only ours
        django_signal.connect(receiver)
    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        call_command("prices", stderr=StringIO())
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    assert calls == ["started", "stopped"]


@pytest.mark.django_db(transaction=True)
def test_process_stops_on_request(source: DataConnection) -> None:
    source.kind = DataConnection.Kind.STATIC
    source.save()
    process = run_command("prices")
    try:
        until(lambda: len(latest(source.pk)) == 3)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=60)  # a second where the machine is not busy
    finally:
        process.kill()
    assert process.returncode == 0
    assert "stopped after" in stderr


@pytest.mark.django_db(transaction=True)
def test_recording_is_replayed_by_command(source: DataConnection, tmp_path: Path) -> None:
    source.is_active = False
    source.save()
    path = tmp_path / "two.csv"
    path.write_text(
        "time_ms,symbol,bid,ask\n1399032000000,EUR/USD,1.1,1.2\n1399032060000,EUR/USD,1.3,1.4\n"
    )
    begun = datetime.now(UTC)
    process = run_command(
        "replay_market", str(path), "--speed", "600", "--data-connection", "Recorded"
    )
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert "2 quotes replayed" in stderr
    last = latest(source.pk)["EUR/USD"]
    assert last.bid == D("1.3")
    assert begun < last.time <= datetime.now(UTC)  # dated as it came
    assert PaperQuote.objects.get(symbol="EURUSD").bid == D("1.3")


def run_command(*arguments: str) -> "subprocess.Popen[str]":
    """Run a management command as its own process, on the test database."""
    settings = connection.settings_dict
    url = (
        f"postgresql://{settings['USER']}:{settings['PASSWORD']}@{settings['HOST']}"
        f":{settings['PORT']}/{settings['NAME']}"
    )
    return subprocess.Popen(
        [sys.executable, "-m", "django", *arguments],
        env={**os.environ, "DATABASE_URL": url},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.django_db(transaction=True)
def test_replay_into_live_source_is_refused(source: DataConnection) -> None:
    with pytest.raises(CommandError, match="the prices process feeds it"):
        call_command("replay_market", "--data-connection", "Recorded", stderr=StringIO())


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["nothing.csv"], "There is no recording 'nothing.csv'; available are: quotes-2014"),
        (["--speed", "0"], "--speed"),
        (["--start", "noon"], "--start 'noon'"),
    ],
)
def test_replay_command_reports_invalid_arguments(
    source: DataConnection, arguments: list[str], wrong: str
) -> None:
    set_market_clock(None)
    with pytest.raises(CommandError, match=wrong):
        call_command("replay_market", *arguments, stderr=StringIO())


@pytest.mark.parametrize(("took", "paused"), [(0.0, 0.02), (0.015, 0.005), (0.02, 0.0), (0.5, 0.0)])
def test_steps_begin_at_a_steady_pace(took: float, paused: float) -> None:
    assert pause_after(took, 0.02) == pytest.approx(paused)
