"""Every table that is a CSV is also JSON lines: the same rows, row by row."""

import csv
import io
import json
from typing import Any
from uuid import uuid4

import pytest

from analytics.history.open_tables import OPEN_TABLES
from analytics.history.rows import HISTORY
from analytics.results.exports import TABLES
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.api.test_problems import problem
from tests.api.test_results_api import close_two
from tests.matrix import WALK_TIME, Walk

RESULTS = [f"analytics/export/{table}/" for table in TABLES]
PAGES = [
    "analytics/breakdown/", "analytics/compared/", "trail/",
    *(f"history/{table}/" for table in HISTORY), *(f"exports/{table}/" for table in OPEN_TABLES),
]  # fmt: skip


def text(answer: Any) -> str:
    assert answer.status_code == 200, answer.content
    assert answer.streaming
    return b"".join(answer.streaming_content).decode("utf-8-sig")


def from_csv(answer: Any) -> list[dict[str, str]]:
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(text(answer))))


def from_lines(answer: Any) -> list[dict[str, Any]]:
    assert answer["Content-Type"] == "application/x-ndjson"
    assert answer["Content-Disposition"].endswith('.ndjson"')
    found = text(answer)
    assert found == "" or found.endswith("\n")
    return [json.loads(line) for line in found.splitlines()]


def as_csv(value: Any) -> str:
    shown = "" if value is None else str(value)
    return (
        f"'{shown}" if shown.startswith(("=", "+", "-", "@")) and not _is_number(shown) else shown
    )


def _is_number(shown: str) -> bool:
    return shown.lstrip("-").replace(".", "").isdigit()


@WALK_TIME
def test_json_lines_have_the_rows_of_the_csv(world: World, as_web: AsWeb) -> None:
    close_two(world)
    alice = world.client("alice")
    with Walk() as walk:
        for path in walk.each(RESULTS + PAGES):
            only = f"connection={world.connection.pk}" if path.startswith("analytics/") else ""
            address = f"/api/v1/{path}?{only}"
            with walk.cell(path, "alice") as cell:
                with as_web():
                    rows = from_csv(alice.get(f"{address}&format=csv"))
                    lines = from_lines(alice.get(f"{address}&format=ndjson"))
                    asked = from_lines(alice.get(address, HTTP_ACCEPT="application/x-ndjson"))
                cell.expect(lines, asked, "asked for by a header")
                as_rows = [{name: as_csv(value) for name, value in one.items()} for one in lines]
                cell.expect(rows, as_rows, "rows")
                values = [value for line in lines for value in line.values()]
                odd = [value for value in values if not isinstance(value, str | int | None)]
                cell.expect([], odd, "values that are no text or number")


def test_text_is_not_changed_for_spreadsheets_and_unknown_is_null(world: World) -> None:
    close_two(world)
    type(world.connection).objects.filter(pk=world.connection.pk).update(name="=SUM(1)")
    address = f"/api/v1/analytics/export/trades/?connection={world.connection.pk}"
    line, _ = from_lines(world.client("alice").get(f"{address}&format=ndjson"))
    row, _ = from_csv(world.client("alice").get(address))
    assert (line["account"], row["account"]) == ("=SUM(1)", "'=SUM(1)")
    assert (line["spread"], row["spread"]) == (None, "")


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_only_the_columns_that_were_asked_for_are_sent(world: World, form: str) -> None:
    close_two(world)
    address = f"/api/v1/analytics/export/trades/?connection={world.connection.pk}&format={form}"
    read = from_csv if form == "csv" else from_lines
    for line in read(world.client("alice").get(f"{address}&fields=pair,net")):
        assert list(line) == ["pair", "net"]
    error = problem(world.client("alice").get(f"{address}&fields=nothing"), 400, "FIELD_UNKNOWN")
    assert "position, account" in error["detail"]


def test_comparison_with_a_paper_twin_is_streamed_too(world: World) -> None:
    address = f"/api/v1/subscriptions/{world.twinned.pk}/comparison/"
    assert from_lines(world.client("alice").get(f"{address}?format=ndjson")) == []
    assert from_csv(world.client("alice").get(f"{address}?format=csv")) == []


def test_what_is_open_is_streamed_for_its_owner_only(world: World, as_web: AsWeb) -> None:
    api = "/api/v1/exports/"
    with as_web():
        (held,) = from_lines(world.client("alice").get(f"{api}open-positions/?format=ndjson"))
        waiting = from_csv(world.client("alice").get(f"{api}working-orders/"))
        for name in ("bob", "olga"):
            for table in OPEN_TABLES:
                assert from_csv(world.client(name).get(f"{api}{table}/")) == []
    assert held["position"] == f"P-{world.position.pk}"
    assert [row["order"] for row in waiting] == [f"O-{world.pending.pk}"]


def test_filters_of_what_is_open_leave_out(world: World) -> None:
    alice, api = world.client("alice"), "/api/v1/exports/"
    for query, count in (
        (f"account={world.connection.pk}", 1), (f"account={uuid4()}", 0), ("pair=eur", 1),
        ("pair=XAU", 0),
    ):  # fmt: skip
        for table in OPEN_TABLES:
            assert len(from_csv(alice.get(f"{api}{table}/?{query}"))) == count, (table, query)
    for query, count in (("kind=entries", 1), ("kind=exits", 0), ("feed=x", 0)):
        assert len(from_csv(alice.get(f"{api}working-orders/?{query}"))) == count, query
    for query in ("account=nothing", "pair=%00", "kind=x"):
        problem(alice.get(f"{api}working-orders/?{query}"), 400, "FIELD_INVALID")
    problem(alice.get(f"{api}nothing/"), 404, "NOT_FOUND")
