"""Quotes that a program pushes over HTTP: who may, what is taken, and what is refused."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from rest_framework.test import APIClient

from common.permissions import Scope
from connections.models import DataConnection
from prices.models import LatestQuote, PushedQuote, PushRefusal
from prices.pushed_quotes import MAX_QUOTES
from tests.api.conftest import AsWeb
from tests.api.factories import World
from users.services import create_api_key


@pytest.fixture
def source(world: World) -> DataConnection:
    return DataConnection.objects.create(
        name="Ours", kind="push", user=world.alice,
        settings={"symbols": ["EUR/USD", "GBP/USD"]},
    )  # fmt: skip


def address(source: DataConnection) -> str:
    return f"/api/v1/data-connections/{source.pk}/quotes/"


def quote(bid: str = "1.1", seconds: float = 0, **changes: Any) -> dict[str, Any]:
    time = datetime.now(UTC) + timedelta(seconds=seconds)
    row = {"symbol": "EUR/USD", "bid": bid, "ask": str(D(bid) + D("0.0002"))}
    return row | {"time": time.isoformat()} | changes


def push(world: World, source: DataConnection, *quotes: Any, by: str = "alice", **more: Any) -> Any:
    body = {"quotes": list(quotes)}
    return world.client(by).post(address(source), body, format="json", **more)


def stored() -> list[tuple[str, D]]:
    rows = PushedQuote.objects.order_by("id")
    return list(rows.values_list("symbol", "bid"))


def test_quotes_are_taken_in_order(world: World, as_web: AsWeb, source: DataConnection) -> None:
    with as_web():
        answer = push(world, source, quote("1.1", -1), quote("1.1001"), quote(symbol="GBP/USD"))
    assert answer.status_code == 200, answer.content
    assert answer.json() == {"accepted": 3, "repeated": 0, "refused": []}
    assert stored() == [("EUR/USD", D("1.1")), ("EUR/USD", D("1.1001")), ("GBP/USD", D("1.1"))]
    assert not LatestQuote.objects.exists(), "nothing counts before it is judged"


def test_invalid_rows_are_stated_and_counted(
    world: World, as_web: AsWeb, source: DataConnection
) -> None:
    with as_web():
        answer = push(world, source, quote("1.1", ask="1"), quote(), quote(bid="1", ask="NaN"))
    assert [(r["row"], r["code"]) for r in answer.json()["refused"]] == [
        (0, "QUOTE_CROSSED"), (2, "NUMBER_MALFORMED"),
    ]  # fmt: skip
    assert "highest price to buy" in answer.json()["refused"][0]["message"], "what to do"
    assert answer.json()["accepted"] == 1
    counted = PushRefusal.objects.order_by("code").values_list("code", "quotes")
    assert list(counted) == [("NUMBER_MALFORMED", 1), ("QUOTE_CROSSED", 1)]
    with as_web():
        push(world, source, quote("1.1001", ask="1"))
    assert PushRefusal.objects.get(code="QUOTE_CROSSED").quotes == 2


def test_body_that_is_sent_again_changes_nothing(
    world: World, as_web: AsWeb, source: DataConnection
) -> None:
    rows = quote("1.1", -1), quote("1.1001")
    with as_web():
        push(world, source, *rows)
        answer = push(world, source, *rows)
    # the first row is not the newest of its symbol any more
    assert answer.json()["accepted"] == 0
    assert answer.json()["repeated"] == 1
    assert [row["code"] for row in answer.json()["refused"]] == ["QUOTE_OUT_OF_ORDER"]
    assert len(stored()) == 2


def test_answer_of_an_idempotency_key_is_repeated(
    world: World, as_web: AsWeb, source: DataConnection
) -> None:
    rows = quote("1.1", -1), quote("1.1001")
    with as_web():
        answers = [push(world, source, *rows, HTTP_IDEMPOTENCY_KEY="k-1") for _ in range(2)]
    assert answers[0].json() == answers[1].json() == {"accepted": 2, "repeated": 0, "refused": []}
    assert len(stored()) == 2


@pytest.mark.parametrize("body", [{}, {"quotes": []}, {"quotes": "x"}, {"quotes": None}])
def test_body_needs_a_list_of_quotes(
    world: World, source: DataConnection, body: dict[str, Any]
) -> None:
    answer = world.client("alice").post(address(source), body, format="json")
    assert answer.status_code == 400, answer.content


def test_too_many_quotes_are_refused_as_a_whole(world: World, source: DataConnection) -> None:
    rows = [{"symbol": "EUR/USD"}] * (MAX_QUOTES + 1)
    assert push(world, source, *rows).json()["code"] == "FIELD_INVALID"
    huge = [{"symbol": "E" * 1000}] * MAX_QUOTES
    assert push(world, source, *huge).json()["code"] == "BODY_TOO_LARGE"
    assert stored() == []


@pytest.mark.parametrize("changes", [{"kind": "replay"}, {"is_active": False}])
def test_source_that_takes_none_is_a_conflict(
    world: World, as_web: AsWeb, source: DataConnection, changes: dict[str, Any]
) -> None:
    DataConnection.objects.filter(pk=source.pk).update(**changes)
    with as_web():
        answer = push(world, source, quote())
    assert (answer.status_code, answer.json()["code"]) == (409, "SOURCE_NOT_PUSHED")
    assert stored() == []


def test_only_owner_and_operators_push(world: World, as_web: AsWeb, source: DataConnection) -> None:
    with as_web():
        answers = {by: push(world, source, quote(), by=by) for by in ("bob", "anonymous")}
        assert {by: answer.status_code for by, answer in answers.items()} == {
            "bob": 404, "anonymous": 401,
        }  # fmt: skip
    DataConnection.objects.filter(pk=source.pk).update(user=None)
    with as_web():
        assert push(world, source, quote()).status_code == 404, "a shared source is the operators'"
        assert push(world, source, quote(), by="olga").status_code == 200


@pytest.mark.parametrize(
    ("scopes", "status"),
    [([Scope.PRICES], 200), ([Scope.READ, Scope.TRADE, Scope.PUBLISH, Scope.OPERATE], 403)],
)
def test_key_needs_the_scope_of_prices(
    world: World, as_web: AsWeb, source: DataConnection, scopes: list[Scope], status: int
) -> None:
    _, key = create_api_key(world.alice, "feeder", scopes=scopes)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {key}")
    with as_web():
        answer = client.post(address(source), {"quotes": [quote()]}, format="json")
        assert answer.status_code == status, answer.content
        if status == 200:
            listed = client.get("/api/v1/data-connections/")
            halted = client.post("/api/v1/kill-switch/", {}, format="json")
            assert (listed.status_code, halted.status_code) == (403, 403), "and nothing else"


def test_fallback_is_chosen_by_the_owner(
    world: World, as_web: AsWeb, source: DataConnection
) -> None:
    shared = DataConnection.objects.create(name="Shared", kind="push", settings=source.settings)
    others = DataConnection.objects.create(name="Bob's", kind="push", user=world.bob)
    path = f"/api/v1/data-connections/{source.pk}/"
    with as_web():
        client = world.client("alice")
        answer = client.patch(path, {"fallback": shared.pk}, format="json")
        assert (answer.status_code, answer.json()["fallback"]) == (200, shared.pk), answer.content
        for refused in (others.pk, source.pk, world.prices.pk):
            assert client.patch(path, {"fallback": refused}, format="json").status_code == 400
        assert client.patch(path, {"fallback": None}, format="json").json()["fallback"] is None
    source.refresh_from_db()
    assert source.fallback_id is None
