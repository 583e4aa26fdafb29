"""The queries of the specification, run by ClickHouse itself; docs/bus-types.md has the output."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from buses.clickhouse.client import SQL
from buses.clickhouse.sink import open_sink, query_text
from buses.envelope import Envelope
from tests.buses.events import AT
from tests.buses.test_clickhouse_sink import Engine, order

PAGE = Path(__file__).parents[2] / "docs" / "bus-types.md"
DAY = "2026-11-30"
QUERIES = ("newest_orders", "fill_rate", "slippage")
SOURCE, OTHER = "/fillcast/tst", "/fillcast/two"


def sample() -> Iterator[Envelope]:
    """Orders of which each query finds some and leaves others out."""
    for number in range(1, 25):  # of these the newest 20
        at = (AT + timedelta(minutes=number)).isoformat()
        yield order(number, created_at=at, submitted_at=at, slippage=f"{number % 3 - 1}.5")
    days = {25: 1, 26: 6, 27: 7, 28: 29, 29: 30}
    for number, days_ago in days.items():
        at = (AT - timedelta(days=days_ago)).isoformat()
        yield order(number, created_at=at, submitted_at=at, slippage="2")
    at = (AT - timedelta(days=2)).isoformat()
    ended = {"created_at": at, "submitted_at": at, "slippage": None, "slippage_unit": None}
    yield order(30, status="CANCELLED", filled_quantity="400", **ended)
    yield order(31, status="REJECTED", filled_quantity="0", **ended)
    yield order(32, status="FAILED", filled_quantity="0", **ended)  # never left
    yield order(33, status="DENIED", filled_quantity="0", **(ended | {"submitted_at": None}))
    yield order(
        34, symbol="BTC/USD", slippage="3", slippage_unit="BPS", created_at=at, submitted_at=at
    )


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    running = Engine(tmp_path_factory.mktemp("clickhouse"))
    running.start()
    sink = open_sink(running.url("sample"))
    sink.write(list(sample()))
    sink.close()
    yield running
    running.kill()


def test_newest_orders_are_20_of_the_day(engine: Engine) -> None:
    found = engine.rows("sample", query_text("newest_orders"), day=DAY)
    assert [row["order_id"] for row in found] == [str(n) for n in range(24, 4, -1)]


def test_fill_rate_counts_what_reached_a_broker(engine: Engine) -> None:
    found = engine.rows("sample", query_text("fill_rate"), day=DAY)
    assert {row.pop("source") for row in found} == {SOURCE}
    assert found == [
        {"day": "2026-11-24", "sent": "1", "filled": "1", "fill_rate": 1},
        {"day": "2026-11-28", "sent": "3", "filled": "2", "fill_rate": 0.6667},
        {"day": "2026-11-29", "sent": "1", "filled": "1", "fill_rate": 1},
        {"day": "2026-11-30", "sent": "24", "filled": "24", "fill_rate": 1},
    ]


def test_slippage_is_by_symbol_with_the_largest(engine: Engine) -> None:
    bitcoin, euro = engine.rows("sample", query_text("slippage"), day=DAY)
    assert (bitcoin["symbol"], bitcoin["unit"], bitcoin["largest"]) == ("BTC/USD", "BPS", "3")
    # 8 each of -1.5 (written -1.5), 0.5 and 1.5 of the day; 2 of three earlier days, one too old.
    assert (euro["orders"], euro["largest"]) == ("28", "2")


def test_two_installations_in_one_database_are_not_added(engine: Engine) -> None:
    """With the same ids: 22 orders of one, of which the newest is not filled in the other."""
    sink = open_sink(engine.url("shared"))
    sink.write([order(number, slippage="1") for number in range(1, 23)])
    unfilled = order(22, status="REJECTED", filled_quantity="0", slippage="4")
    sink.write([replace(unfilled, source=OTHER)])
    sink.close()
    newest, rate, slippage = (engine.rows("shared", query_text(name), day=DAY) for name in QUERIES)
    assert [row["order_id"] for row in newest] == [*map(str, range(22, 2, -1)), "22"]
    assert [row["source"] for row in newest] == [SOURCE] * 20 + [OTHER]
    assert [(row["source"], row["sent"], row["fill_rate"]) for row in rate] == [
        (SOURCE, "22", 1), (OTHER, "1", 0),
    ]  # fmt: skip
    assert [(row["source"], row["orders"], row["average"]) for row in slippage] == [
        (SOURCE, "22", 1), (OTHER, "1", 4),
    ]  # fmt: skip


@pytest.mark.parametrize("name", QUERIES)
def test_text_of_each_query_keeps_installations_apart(name: str) -> None:
    """By the text alone, where there is no engine."""
    text = re.sub(r"--.*", "", query_text(name)).strip()
    assert text.startswith("SELECT source, ")
    assert "ORDER BY source, " in text
    assert "GROUP BY source, " in text or "LIMIT 20 BY source" in text


def test_page_has_the_output_of_each_query(engine: Engine) -> None:
    page = PAGE.read_text()
    for name in QUERIES:
        assert f"`{name}.sql`\n\n{table(engine, name)}" in page


def test_each_query_of_the_folder_is_documented() -> None:
    assert {path.stem for path in (SQL / "queries").glob("*.sql")} == set(QUERIES)


def table(engine: Engine, name: str) -> str:
    """Return what a query finds as a table; of many rows the first three."""
    rows = engine.rows("sample", query_text(name), day=DAY)
    names = list(rows[0])
    lines = [f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]
    shown = rows if len(rows) <= 7 else rows[:3]
    lines += [f"| {' | '.join(str(row[name]) for name in names)} |" for row in shown]
    if len(rows) > 7:
        lines.append(f"\n… and {len(rows) - 3} more.")
    return "\n".join(lines) + "\n"
