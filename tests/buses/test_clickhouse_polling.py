"""Signals from a table of ClickHouse's own engine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from buses.clickhouse import polling
from buses.clickhouse.client import Address, ClickHouse
from buses.clickhouse.polling import ClickHouseLane
from buses.incoming.intake import Answer, Message, take
from buses.incoming.models import BusMessage
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


@pytest.fixture
def lane(engine: Engine, tmp_path: Path) -> Iterator[ClickHouseLane]:
    opened = ClickHouseLane(engine.url(database_of(tmp_path)))
    assert opened.poll(never, seconds=0) == 0  # makes the table
    yield opened
    opened.close()


@pytest.fixture
def table(engine: Engine, tmp_path: Path) -> Iterator[ClickHouse]:
    client = ClickHouse(Address.parse(engine.url(database_of(tmp_path))))
    yield client
    client.close()


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


def test_restarted_process_reads_the_last_day_again(
    engine: Engine, lane: ClickHouseLane, table: ClickHouse, tmp_path: Path
) -> None:
    table.insert("signals", [row("a"), row("old", created_at="2020-01-01 00:00:00")])
    assert polled(lane) == ["gold/a"]
    again = ClickHouseLane(engine.url(database_of(tmp_path)))
    assert polled(again) == ["gold/a"]  # its row in our database makes it count once
    again.close()


def test_absent_server_is_unavailable() -> None:
    with closed_port() as port:
        lane = ClickHouseLane(f"clickhouse://127.0.0.1:{port}")
        with pytest.raises(SinkUnavailable):
            lane.poll(never, seconds=0)
        lane.close()


@pytest.mark.django_db
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
