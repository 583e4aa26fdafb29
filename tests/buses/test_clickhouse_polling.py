"""Signals from a table of ClickHouse's own engine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from buses.clickhouse import client, polling
from buses.clickhouse.client import SQL, Address, ClickHouse, statements
from buses.clickhouse.polling import ClickHouseLane
from buses.incoming.intake import Answer, Message, take
from buses.incoming.models import BusLane, BusMessage
from buses.incoming.routes import add_route
from buses.sinks import SinkUnavailable
from common.permissions import Role
from common.reason_codes import Code
from execution.models import Order
from signals.models import Feed, Signal
from tests.buses.test_clickhouse_sink import Engine, database_of
from tests.buses.test_clickhouse_sink import engine as engine
from tests.ports import closed_port
from tests.roles import staff

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no absent server."""
    monkeypatch.setattr(client, "SECONDS", 120.0)


@pytest.fixture
def lane(engine: Engine, tmp_path: Path, db: None) -> Iterator[ClickHouseLane]:
    opened = ClickHouseLane(engine.url(database_of(tmp_path)))
    assert opened.poll(never, seconds=0) == 0  # makes the table
    yield opened
    opened.close()


@pytest.fixture
def table(engine: Engine, tmp_path: Path) -> Iterator[ClickHouse]:
    opened = ClickHouse(Address.parse(engine.url(database_of(tmp_path))))
    yield opened
    opened.close()


def never(message: Message) -> Answer:
    raise AssertionError(message)


def row(signal_id: str, **more: Any) -> dict[str, Any]:
    usual = {
        "feed": "gold", "approval": "APPROVED", "signal_id": signal_id, "symbol": "EURUSD",
        "signal_type": "BUY", "stop_loss": "1.09", "take_profit": "1.12", "position_size": "1000",
    }  # fmt: skip
    return usual | more


def polled(lane: ClickHouseLane, answer: Answer = Answer.ACK) -> list[str]:
    """Return the ids of one poll."""
    found: list[str] = []

    def note(message: Message) -> Answer:
        found.append(message.message_id)
        return answer

    lane.poll(note, seconds=0)
    return found


def test_new_rows_are_read_once_in_order(lane: ClickHouseLane, table: ClickHouse) -> None:
    table.insert("signals", [row("b"), row("a"), row("c", feed="fx")])
    assert polled(lane) == ["fx/c", "gold/a", "gold/b"]
    assert polled(lane) == []
    table.insert("signals", [row("d")])
    assert polled(lane) == ["gold/d"]
    newest = table.query("SELECT toString(max(approved_at)) AS at FROM signals")[0]["at"]
    assert lane.progress.position == f"rows until {newest[:19]} UTC"
    assert lane.progress.bus == lane.name.removesuffix("#signals")


def test_rows_without_approval_are_not_read(lane: ClickHouseLane, table: ClickHouse) -> None:
    table.insert("signals", [row("a", approval="PENDING"), {"signal_id": "b", "feed": "gold"}])
    assert polled(lane) == []


def test_row_to_retry_is_read_again(
    lane: ClickHouseLane, table: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "OVERLAP", timedelta(0))
    table.insert("signals", [row("a")])
    table.insert("signals", [row("b")])
    assert polled(lane, Answer.RETRY) == ["gold/a", "gold/b"]
    assert polled(lane) == ["gold/a", "gold/b"]
    assert polled(lane) == []


def test_many_rows_of_one_time_are_read_page_by_page(
    lane: ClickHouseLane, table: ClickHouse
) -> None:
    table.insert("signals", [row(f"{n:05}") for n in range(1_234)])  # one insert, one time
    assert polled(lane) == [f"gold/{n:05}" for n in range(1_234)]
    assert polled(lane) == []


def test_more_rows_of_one_time_than_a_poll_reads_are_all_taken(
    lane: ClickHouseLane, table: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "MOST_ROWS", 500)
    table.insert("signals", [row(f"{n:05}") for n in range(1_234)])
    assert len(polled(lane, Answer.RETRY)) == 500
    found = [one for _ in range(7) for one in polled(lane)]
    assert sorted(found) == [f"gold/{n:05}" for n in range(1_234)]
    table.insert("signals", [row("newer")])
    assert [one for _ in range(4) for one in polled(lane)] == ["gold/newer"]


def test_contents_of_one_id_and_time_are_all_read(
    lane: ClickHouseLane, table: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "MOST_ROWS", 1)
    table.insert("signals", [row("a", symbol=name) for name in ("EURUSD", "GBPUSD", "USDJPY")])
    assert [one for _ in range(3) for one in polled(lane)] == ["gold/a"] * 3


def test_search_reads_a_slice_at_a_poll_after_the_new_rows(
    lane: ClickHouseLane, table: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    began_long_ago(lane)
    lane._search_began = -inf
    clock = [0.0]
    monkeypatch.setattr(polling, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    seen: list[list[str]] = []

    def is_missing(messages: Sequence[Message]) -> list[Message]:
        seen.append([one.message_id for one in messages])
        return [one for one in messages if one.message_id == "gold/2"]

    monkeypatch.setattr(polling, "not_stored", is_missing)
    monkeypatch.setattr(polling, "MOST_ROWS", 2)
    old = [row(f"{n}", created_at=hours_ago(table, 9 - n)) for n in range(5)]
    table.insert("signals", [*old, row("new")])
    assert polled(lane) == ["gold/new"]
    assert polled(lane, Answer.RETRY) == ["gold/2"]
    assert polled(lane) == ["gold/2"]  # again, and not from the beginning
    assert polled(lane) == []
    assert polled(lane) == []  # the last slice has no rows
    ids = [f"gold/{n}" for n in range(5)]
    assert seen == [ids[:2], ids[2:4], ids[2:4], ids[4:]]
    clock[0] = polling.SEARCH_SECONDS - 1
    assert polled(lane) == []
    assert len(seen) == 4
    clock[0] = polling.SEARCH_SECONDS
    for _ in range(20):  # slices grow from empty ones
        polled(lane)
    assert seen[4][0] == ids[0]


def rows_read(table: ClickHouse, after: str, until: str) -> int:
    """Return how many rows ClickHouse reads for a poll."""
    query = (SQL / "poll.sql").read_text()
    given = {"since": after, "feed": "", "id": "", "until": until}
    for name, value in given.items():
        query = query.replace(f"{{{name}:String}}", f"'{value}'")
    answer = table.run(query.replace("{most:UInt64}", "5000") + " FORMAT JSON")
    return int(json.loads(answer)["statistics"]["rows_read"])


WEEK_OF_ROWS = """
INSERT INTO signals (created_at, feed, approval, approved_at, signal_id, signal_type)
SELECT now64(6) - toIntervalSecond(500000 - number * 12) AS at, 'gold', 'APPROVED',
  at + toIntervalSecond(number % 20), toString(number), 'BUY' FROM numbers(40000)"""
WITHOUT_INDEX = "ALTER TABLE signals DROP INDEX seen"
WITH_INDEX = (  # as the documentation states for a table that is there
    "ALTER TABLE signals ADD INDEX seen greatest(created_at, approved_at) TYPE minmax"
    " GRANULARITY 1",
    "ALTER TABLE signals MATERIALIZE INDEX seen SETTINGS mutations_sync = 1",
)


def test_poll_reads_what_is_new_and_not_a_week_of_rows(
    lane: ClickHouseLane, table: ClickHouse
) -> None:
    table.run(WEEK_OF_ROWS)
    long_ago, minute_ago = hours_ago(table, 30), hours_ago(table, 0)
    assert rows_read(table, minute_ago, polling.FAR) <= 17_000
    assert rows_read(table, long_ago, hours_ago(table, 29)) <= 17_000  # a slice of the search
    table.run(WITHOUT_INDEX)
    assert rows_read(table, minute_ago, polling.FAR) >= 40_000
    for statement in WITH_INDEX:
        table.run(statement)
    assert rows_read(table, minute_ago, polling.FAR) <= 17_000


@pytest.mark.parametrize("is_indexed", [True, False])
def test_row_of_days_ago_is_read_once_it_is_approved(
    lane: ClickHouseLane, table: ClickHouse, is_indexed: bool
) -> None:
    if not is_indexed:
        table.run(WITHOUT_INDEX)
    table.run(WEEK_OF_ROWS.replace("'APPROVED'", "'PENDING'"))
    approve(table, "20000", ", approved_at = now64(6)")
    assert polled(lane) == ["gold/20000"]


def test_search_of_a_dense_week_finds_all_in_slices(
    lane: ClickHouseLane, table: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    began_long_ago(lane)
    monkeypatch.setattr(polling, "MOST_ROWS", 100)
    monkeypatch.setattr(polling, "not_stored", list)
    table.run(f"{WEEK_OF_ROWS} WHERE number % 80 = 0")
    lane.since = hours_ago(table, 0)
    lane._search_began = -inf
    slices: list[float] = []
    found: list[str] = []
    for _ in range(20):
        found += polled(lane)
        slices.append(lane._slice.total_seconds())
    assert sorted(found) == sorted(f"gold/{n}" for n in range(0, 40_000, 80))
    assert min(slices) < polling.LONGEST.total_seconds()


def test_search_ends_though_slices_have_no_rows(
    lane: ClickHouseLane, table: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    began_long_ago(lane)
    monkeypatch.setattr(polling, "not_stored", list)
    table.insert("signals", [row("old", created_at=hours_ago(table, 150))])
    table.insert("signals", [row("late", created_at=hours_ago(table, 2))])
    lane.since = hours_ago(table, 0)
    lane._slice, lane._search_began = timedelta(minutes=1), -inf
    found = [one for _ in range(20) for one in polled(lane)]
    assert found == ["gold/old", "gold/late"]
    assert lane._searched is None


def approve(table: ClickHouse, signal_id: str, more: str = "") -> None:
    """Approve a row that is there, and wait until that is done."""
    change = (
        f"ALTER TABLE signals UPDATE approval = 'APPROVED'{more} WHERE signal_id = '{signal_id}'"
    )
    table.run(f"{change} SETTINGS mutations_sync = 1")


@pytest.fixture
def routed(feed: Feed) -> None:
    add_route("signals.approved.gold", feed=feed, by=staff(Role.OPERATOR, name="olga"))


def next_process(engine: Engine, tmp_path: Path) -> list[str]:
    """Poll as a process that has just started; return what it took."""
    lane = ClickHouseLane(engine.url(database_of(tmp_path)))
    before = set(BusMessage.objects.values_list("pk", flat=True))
    lane.poll(take, seconds=0)
    lane.close()
    found = BusMessage.objects.exclude(pk__in=before).order_by("pk")
    return list(found.values_list("message_id", flat=True))


CLOSE = {
    "signal_type": "CLOSE", "symbol": "", "stop_loss": None, "take_profit": None,
    "position_size": None,
}  # fmt: skip


@pytest.mark.usefixtures("inline_commits", "alice", "routed")
def test_row_approved_later_is_taken_when_it_is_approved(
    lane: ClickHouseLane, table: ClickHouse
) -> None:
    table.insert("signals", [row("late", approval="PENDING", created_at=hours_ago(table, 3))])
    table.insert("signals", [row("newer")])
    lane.poll(take, seconds=0)
    assert set(Signal.objects.values_list("external_id", flat=True)) == {"newer"}
    approve(table, "late", ", approved_at = now64(6)")
    lane.poll(take, seconds=0)
    assert set(Signal.objects.values_list("external_id", flat=True)) == {"newer", "late"}


@pytest.mark.usefixtures("inline_commits", "alice", "routed")
def test_row_approved_later_without_its_time_is_found_by_the_running_process(
    lane: ClickHouseLane, table: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    began_long_ago(lane)
    table.insert("signals", [row("open")])
    old = {"approval": "PENDING", "created_at": hours_ago(table, 3)}
    table.insert("signals", [row("late", **old), row("c", **CLOSE, **old, refers_to="open")])
    lane.poll(take, seconds=0)
    for signal_id in ("late", "c"):
        approve(table, signal_id)
    lane.poll(take, seconds=0)
    assert set(Signal.objects.values_list("external_id", flat=True)) == {"open"}
    monkeypatch.setattr(polling, "SEARCH_SECONDS", 0.0)
    lane.poll(take, seconds=0)
    assert set(Signal.objects.values_list("external_id", flat=True)) == {"open", "c"}
    assert BusMessage.objects.dead().get().code == Code.ALERT_TOO_OLD  # no entry hours late


@pytest.mark.usefixtures("inline_commits", "alice", "routed")
def test_corrected_row_is_taken_and_the_faulty_one_never_again(
    lane: ClickHouseLane, table: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    began_long_ago(lane)
    table.insert("signals", [row("open")])
    lane.poll(take, seconds=0)
    table.insert("signals", [row("c", **CLOSE | {"symbol": "?"}, refers_to="open")])
    lane.poll(take, seconds=0)
    assert BusMessage.objects.dead().get().message_id == "gold/c"
    table.insert("signals", [row("c", **CLOSE, refers_to="open")])
    lane.poll(take, seconds=0)
    assert set(Signal.objects.values_list("external_id", flat=True)) == {"open", "c"}
    monkeypatch.setattr(polling, "SEARCH_SECONDS", 0.0)
    before = list(BusMessage.objects.values())
    table.insert("signals", [row("newer", approval="PENDING")])
    lane.since = hours_ago(table, -1)  # all is behind the cursor
    for _ in range(3):
        lane._done.clear()
        assert lane.poll(take, seconds=0) == 0
    assert list(BusMessage.objects.values()) == before


@pytest.mark.usefixtures("inline_commits", "alice", "routed")
def test_next_process_reads_on_after_days_away(
    engine: Engine, lane: ClickHouseLane, table: ClickHouse, tmp_path: Path
) -> None:
    began_long_ago(lane)
    table.insert("signals", [row("open")])
    lane.poll(take, seconds=0)
    lane.close()
    assert next_process(engine, tmp_path) == []
    table.insert("signals", [row("before", created_at=hours_ago(table, 24 * 30))])
    table.insert("signals", [row("entry", created_at=hours_ago(table, 49))])
    limit = {"signal_type": "BUY_LIMIT", "entry_price": "1.1", "created_at": hours_ago(table, 49)}
    table.insert("signals", [row("limit", **limit)])
    table.insert("signals", [row("c", **CLOSE, refers_to="open", created_at=hours_ago(table, 48))])
    assert next_process(engine, tmp_path) == ["gold/entry", "gold/limit", "gold/c"]
    assert set(Signal.objects.values_list("external_id", flat=True)) == {"open", "c"}
    codes = BusMessage.objects.dead().values_list("code", flat=True)
    assert list(codes) == [Code.ALERT_TOO_OLD] * 2
    assert next_process(engine, tmp_path) == []


def test_first_process_reads_nothing_from_before_it(
    engine: Engine, table: ClickHouse, tmp_path: Path
) -> None:
    table.make_tables(statements("signals"))
    table.insert("signals", [row("old", created_at=hours_ago(table, 1))])
    assert next_process(engine, tmp_path) == []


def test_table_of_before_gets_its_column(engine: Engine, table: ClickHouse, tmp_path: Path) -> None:
    table.make_tables(statements("signals"))
    table.run(WITHOUT_INDEX)
    table.run("ALTER TABLE signals DROP COLUMN approved_at")
    table.insert("signals", [row("a")])
    assert next_process(engine, tmp_path) == ["gold/a"]


def hours_ago(table: ClickHouse, hours: int) -> str:
    (found,) = table.query(f"SELECT toString(now64(6, 'UTC') - INTERVAL {hours} HOUR) AS at")
    return str(found["at"])


def began_long_ago(lane: ClickHouseLane) -> None:
    """As if the lane had been read for a week."""
    since = {"began": "2020-01-01 00:00:00.000000", "since": lane.since}
    BusLane.objects.update_or_create(name=lane.name, defaults={"cursor": since})
    lane.since = since["since"]
    lane.began = since["began"]


def test_absent_server_is_unavailable() -> None:
    with closed_port() as port:
        lane = ClickHouseLane(f"clickhouse://127.0.0.1:{port}")
        with pytest.raises(SinkUnavailable):
            lane.poll(never, seconds=0)
        lane.close()


@pytest.mark.usefixtures("inline_commits", "alice")
def test_row_becomes_orders_once(lane: ClickHouseLane, table: ClickHouse, feed: Feed) -> None:
    add_route("signals.approved.gold", feed=feed, by=staff(Role.OPERATOR, name="olga"))
    table.insert("signals", [row("a"), row("b", stop_loss=None, signal_type="WAIT"), row("c d")])
    table.insert("signals", [row("x", feed="no route")])
    lane.poll(take, seconds=0)
    lane._done.clear()  # as after a restart
    lane.poll(take, seconds=0)
    assert set(Signal.objects.values_list("external_id", flat=True)) == {"a", "c d"}
    assert Order.objects.count() == 2
    codes = BusMessage.objects.dead().order_by("pk").values_list("code", flat=True)
    assert sorted(codes) == sorted([Code.FIELD_INVALID, Code.SUBJECT_UNKNOWN])
