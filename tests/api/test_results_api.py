"""The API of results: the portal's figures, reasons of what is not defined, CSV."""

import csv
import io
from datetime import timedelta
from decimal import Decimal
from typing import Any

from common.clocks import market_now
from positions.models import ExecutionPosition
from tests.analytics import factories as trades
from tests.api.conftest import AsWeb
from tests.api.factories import World

API = "/api/v1/analytics/"


def close_two(world: World) -> None:
    owner = world.connection.user
    assert owner
    signals = trades.signals(owner, 2)
    closed_at = market_now() - timedelta(hours=1)  # both in the same hour and day
    for signal, pnl in zip(signals, ("30.50", "-10"), strict=True):
        one = trades.trade(
            world.connection, signal, closed_at=closed_at, pnl=Decimal(pnl),
            commission=Decimal("0.5"),
        )  # fmt: skip
        ExecutionPosition.objects.bulk_create([one])


def lines(response: Any) -> list[dict[str, str]]:
    assert response.status_code == 200, response.content
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    return list(
        csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode("utf-8-sig")))
    )


def test_statistics_state_figures_or_why_there_is_none(world: World, as_web: AsWeb) -> None:
    close_two(world)
    with as_web():
        answer = world.client("alice").get(f"{API}statistics/").json()
    found = next(book for book in answer if book["total"]["trades"])
    total = found["total"]
    assert (total["net"], total["commission"], total["trades"]) == ("19.5", "1", 2)
    assert total["profit_factor"]["value"] == "2.857142857142857143"
    assert total["win_rate"] == {"value": "0.5", "why": ""}
    assert (found["longest_wins"], found["current_streak"]) == (1, -1)
    assert found["returns"]["sharpe"]["value"] is None
    assert found["returns"]["sharpe"]["why"]


def test_breakdown_adds_up_and_is_a_csv_if_asked_for(world: World) -> None:
    close_two(world)
    alice = world.client("alice")
    for by in ("feed", "pair", "account", "hour"):
        address = f"{API}breakdown/?by={by}&connection={world.connection.pk}"
        (found,) = alice.get(address).json()
        assert sum(Decimal(part["net"]) for part in found["parts"]) == Decimal("19.5")
        (line,) = lines(alice.get(f"{address}&format=csv"))
        assert line["net"] == "19.5"
        (line,) = lines(alice.get(address, HTTP_ACCEPT="text/csv"))
        assert line["net"] == "19.5"


def test_each_table_is_exported_and_filters_leave_out(world: World) -> None:
    close_two(world)
    alice, only = world.client("alice"), f"connection={world.connection.pk}"
    assert len(lines(alice.get(f"{API}export/trades/?{only}"))) == 2
    assert lines(alice.get(f"{API}export/trades/?{only}&pair=XAU/USD")) == []
    assert lines(alice.get(f"{API}export/trades/?{only}&feed=no-such-feed")) == []
    assert len(lines(alice.get(f"{API}export/trades/?{only}&feed=feed"))) == 2
    figures = {row["figure"]: row for row in lines(alice.get(f"{API}export/statistics/?{only}"))}
    assert (figures["net"]["value"], figures["net"]["currency"]) == ("19.5", "USD")
    assert figures["win_rate"]["value"] == "0.5"
    assert figures["profit_factor"]["value"] == "2.857142857142857143"
    assert (figures["sharpe"]["value"], bool(figures["sharpe"]["not_defined_because"])) == (
        "",
        True,
    )
    assert {"expectancy", "sortino", "calmar", "longest_streak_won", "average_seconds"} <= set(
        figures
    )
    for table in ("days", "months", "equity", "costs", "execution"):
        lines(alice.get(f"{API}export/{table}/?{only}"))
    answer = alice.get(f"{API}compared/?{only}").json()
    assert answer[0]["least_others"] == 5
    assert alice.get(f"{API}export/nothing/?{only}").status_code == 404
    assert alice.get(f"{API}breakdown/?by=moon").json()["code"] == "FIELD_INVALID"


def test_results_of_another_tenant_are_not_exported(world: World, as_web: AsWeb) -> None:
    close_two(world)
    with as_web():
        bob = world.client("bob")
        assert lines(bob.get(f"{API}export/trades/?connection={world.connection.pk}")) == []
        for book in bob.get(f"{API}statistics/").json():
            assert book["total"]["trades"] == 0
