"""Events to ClickHouse's own engine (`tests/buses/clickhouse_server.py`)."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from buses.catalogue import CATALOGUE, OrderUpdate
from buses.clickhouse import client as http
from buses.clickhouse.client import Address, ClickHouse
from buses.clickhouse.sink import (
    ClickHouseSink,
    columns,
    open_sink,
    row_of,
    table_of,
)
from buses.envelope import Envelope
from buses.examples import example_of
from buses.sinks import SinkMisconfigured, SinkRefused, SinkUnavailable
from tests.buses.events import AT, event
from tests.fakes.http_server import serving_http
from tests.ports import closed_port, free_port
from tests.until import until

ACCOUNT = "3f0e7f64-5e3b-4a44-9f55-0d6b2f6f0001"


class Engine:
    """ClickHouse in a process of its own, which keeps its data when it is killed."""

    def __init__(self, folder: Path) -> None:
        if importlib.util.find_spec("chdb") is None:
            pytest.skip("250 MB: pip install -r requirements-clickhouse-tests.txt")
        self.port, self._folder = free_port(), folder
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it and wait until it is ready."""
        command = [sys.executable, "-m", "tests.buses.clickhouse_server", str(self.port)]
        self.process = subprocess.Popen(
            [*command, str(self._folder)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        assert self.process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        """End it at once."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def url(self, database: str) -> str:
        return f"clickhouse://127.0.0.1:{self.port}/{database}"

    def rows(self, database: str, statement: str, **parameters: str) -> list[dict[str, Any]]:
        """Return what a query finds."""
        client = ClickHouse(Address.parse(self.url(database)))
        try:
            return client.query(statement, **parameters)
        finally:
            client.close()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    running = Engine(tmp_path_factory.mktemp("clickhouse"))
    running.start()
    yield running
    running.kill()


@pytest.fixture
def sink(engine: Engine, tmp_path: Path) -> Iterator[ClickHouseSink]:
    """A sink with a database of its own."""
    opened = open_sink(engine.url(database_of(tmp_path)))
    yield opened
    opened.close()


def database_of(folder: Path) -> str:
    return folder.name.replace("-", "_")


def order(number: int, **values: Any) -> Envelope:
    """Return the event of an order that filled."""
    found = {
        "client_order_id": f"tst{number:014}0", "account_id": ACCOUNT, "broker": "paper",
        "leg": "entry", "symbol": "EUR/USD", "side": "BUY", "order_type": "MARKET",
        "time_in_force": "GTC", "status": "FILLED", "lifecycle": "FILLED", "code": "",
        "quantity": "1000", "filled_quantity": "1000", "average_price": "1.10005",
        "slippage": "0.5", "slippage_unit": "PIPS", "commission": "0.07",
        "created_at": AT.isoformat(), "submitted_at": AT.isoformat(),
        "updated_at": AT.isoformat(), "status_before": "SUBMITTED", **values,
    }  # fmt: skip
    return event(number, **found)


def test_order_steps_become_one_row_of_the_newest(engine: Engine, sink: ClickHouseSink) -> None:
    database = sink.name.rpartition("/")[2]
    first = order(1, status="SUBMITTED", filled_quantity="0", average_price=None)
    last = replace(order(1), id="log-9", time=AT + timedelta(microseconds=1))
    sink.write([last])
    sink.write([first])  # a bus may get them in any order
    sink.write([last, first])
    (row,) = engine.rows(database, "SELECT * FROM orders FINAL")
    assert (row["status"], row["average_price"], row["source"]) == (
        "FILLED",
        "1.10005",
        "/fillcast/tst",
    )
    assert row["created_at"] == "2026-11-30 12:00:00.000000"


def test_fills_and_positions_have_their_tables(engine: Engine, sink: ClickHouseSink) -> None:
    database = sink.name.rpartition("/")[2]
    fill = event(
        1, type="fillcast.fill.v1", fill_id=5, broker_fill_id="T-5", account_id=ACCOUNT,
        quantity="1000.000000000000000001", price="1.1", inferred=False,
        executed_at=AT.isoformat(), recorded_at=AT.isoformat(),
    )  # fmt: skip
    opened = event(
        2, type="fillcast.position_opened.v1", position_id=3, state_version=1, quantity="1000",
        account_id=ACCOUNT, opened_at=AT.isoformat(),
    )  # fmt: skip
    closed = replace(
        opened, type="fillcast.position_closed.v1",
        data={**opened.data, "state_version": 2, "quantity": "0", "close_reason": "signal"},
    )  # fmt: skip
    sink.write([closed, fill, opened, event(3, type="fillcast.fanout_done.v1")])
    (found,) = engine.rows(database, "SELECT * FROM executions FINAL")
    assert (found["quantity"], found["inferred"]) == ("1000.000000000000000001", False)
    (position,) = engine.rows(database, "SELECT * FROM positions FINAL")
    assert (position["quantity"], position["close_reason"]) == ("0", "signal")


def test_every_kind_of_the_catalogue_is_written(engine: Engine, sink: ClickHouseSink) -> None:
    database = sink.name.rpartition("/")[2]
    sink.write([example_of(kind) for kind in CATALOGUE])
    counts = [
        engine.rows(database, f"SELECT count() AS n FROM {table} FINAL")[0]["n"]
        for table in ("orders", "executions", "positions")
    ]
    assert counts == ["1", "1", "1"]  # opened, changed and closed are one position


def test_every_column_is_a_field_of_the_catalogue() -> None:
    own = {"source", "tenant_id", "version"}
    for kind in CATALOGUE:
        table = table_of(event(1, type=f"fillcast.{kind.type}.v{kind.version}"))
        if table is not None:
            assert columns(table) - own <= set(kind.__dataclass_fields__), table


def test_event_with_unknown_fields_is_written_without_them() -> None:
    later = row_of(order(1, invented_later="x"), "orders")
    assert "invented_later" not in later
    assert later["order_id"] == 1
    assert "status_before" in OrderUpdate.__dataclass_fields__
    assert "status_before" not in later


def test_row_that_cannot_be_read_is_found_and_refused(engine: Engine, sink: ClickHouseSink) -> None:
    database = sink.name.rpartition("/")[2]
    with pytest.raises(SinkRefused) as refused:
        sink.write([order(1), order(2), order(3, quantity="1e60"), order(4)])
    assert refused.value.envelope_id == "log-3"
    sink.write([order(1), order(2), order(4)])
    (row,) = engine.rows(database, "SELECT count() AS n FROM orders FINAL")
    assert row["n"] == "3"


def test_dropped_table_is_made_again(engine: Engine, sink: ClickHouseSink) -> None:
    database = sink.name.rpartition("/")[2]
    sink.write([order(1)])
    client = ClickHouse(Address.parse(engine.url(database)))
    client.run("DROP TABLE orders")
    with pytest.raises(SinkUnavailable):
        sink.write([order(2)])
    sink.write([order(2)])
    assert engine.rows(database, "SELECT order_id FROM orders") == [{"order_id": "2"}]
    client.close()


def test_killed_server_is_unavailable_and_keeps_what_it_had(tmp_path: Path) -> None:
    running = Engine(tmp_path / "data")
    running.start()
    sink = open_sink(running.url("killed"))
    sink.write([order(1)])
    running.kill()
    with pytest.raises(SinkUnavailable):
        sink.write([order(2)])
    running.start()
    sink.write([order(1), order(2)])
    (row,) = running.rows("killed", "SELECT count() AS n FROM orders FINAL")
    assert row["n"] == "2"
    sink.close()
    running.kill()


def test_silent_server_is_unavailable_in_bounded_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "SECONDS", 0.5)
    running = Engine(tmp_path / "data")
    running.start()
    assert running.process
    sink = open_sink(running.url("silent"))
    running.process.send_signal(signal.SIGSTOP)
    state = Path(f"/proc/{running.process.pid}/stat")
    until(lambda: state.read_text().rpartition(")")[2].split()[0] == "T")
    with pytest.raises(SinkUnavailable):
        sink.write([order(1)])
    sink.close()
    running.process.send_signal(signal.SIGCONT)
    running.kill()


def test_absent_server_is_unavailable() -> None:
    with closed_port() as port:
        sink = open_sink(f"clickhouse://127.0.0.1:{port}")
        with pytest.raises(SinkUnavailable):
            sink.write([order(1)])
        sink.close()
        sink.close()


def test_other_program_at_the_port_is_unavailable() -> None:
    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>Sign in to the network</html>")

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with serving_http(Proxy) as port:
        sink = open_sink(f"clickhouse://127.0.0.1:{port}")
        with pytest.raises(SinkUnavailable, match="is no ClickHouse"):
            sink.write([order(1)])
        sink.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("clickhouse://", "names no host"),
        ("clickhouse://h/my-db", "letters, digits and _"),
        ("clickhouse://h?secure=1", "not secure"),
        ("clickhouse://h?tls=yes&ca=/nowhere/ca.pem", "/nowhere/ca.pem"),
    ],
)
def test_wrong_url_says_what_to_change(url: str, message: str) -> None:
    with pytest.raises(SinkMisconfigured, match=message):
        open_sink(url)


def test_name_of_sink_has_no_password() -> None:
    opened = open_sink("clickhouse://me:secret@db/x?tls=yes")
    assert opened.name == "clickhouse://db/x"
    opened.close()
