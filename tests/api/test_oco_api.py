"""OCO pairs and brackets over HTTP: both legs or none, all faults at once, once."""

from typing import Any

import pytest

from execution.models import Order
from signals.models import Signal
from tests.api.factories import World
from tests.api.test_problems import problem

BUY = {"direction": "BUY", "order_type": "STOP", "stop_price": "1.4", "sl": "1.38", "tp": "1.42"}
SELL = {"direction": "SELL", "order_type": "STOP", "stop_price": "1.38", "sl": "1.40"}
PAIR: dict[str, Any] = {"feed": "majors", "symbol": "EURUSD", "legs": [BUY, SELL]}


def send(world: World, path: str = "oco/", key: str = "", **changes: Any) -> Any:
    headers: dict[str, Any] = {"HTTP_IDEMPOTENCY_KEY": key} if key else {}
    body = {name: value for name, value in (PAIR | changes).items() if value is not None}
    return world.client("paula").post(f"/api/v1/signals/{path}", body, format="json", **headers)


def faults(response: Any) -> set[tuple[str, str]]:
    assert response.status_code == 400
    return {(one["field"], one["code"]) for one in response.json()["errors"]}


def test_pair_is_stored_and_published_in_one_call(world: World) -> None:
    response = send(world, "oco/?publish=true")
    assert response.status_code == 201
    data = response.json()
    first, second = data["legs"]
    assert {leg["oco_group"] for leg in data["legs"]} == {data["oco_group"]}
    assert (first["other_leg"], second["other_leg"]) == (second["id"], first["id"])
    assert (first["direction"], second["direction"]) == ("BUY", "SELL")
    assert first["is_published"]
    assert second["is_published"]
    orders = Order.objects.filter(signal__in=(first["id"], second["id"])).order_by("id")
    assert [str(one.oco_group) for one in orders] == [data["oco_group"]] * 2
    assert {one.connection_id for one in orders} == {orders[0].connection_id}


def test_publishing_or_cancelling_a_leg_does_it_with_both(world: World) -> None:
    first, second = send(world).json()["legs"]
    paula = world.client("paula")
    assert paula.post(f"/api/v1/signals/{second['id']}/publish/").json()["is_published"]
    assert Signal.objects.get(pk=first["id"]).is_published
    assert paula.post(f"/api/v1/signals/{first['id']}/cancel/").status_code == 200
    assert Signal.objects.filter(cancelled_at=None, oco_group__isnull=False).count() == 0
    orders = Order.objects.filter(oco_group__isnull=False)
    assert set(orders.values_list("status", flat=True)) <= {"CANCELLED", "SKIPPED"}


@pytest.mark.parametrize("ids", [{"external_id": "breakout-7"}, {"key": "k1"}])
def test_repeated_pair_is_the_same_pair(world: World, ids: dict[str, str]) -> None:
    first, again = send(world, **ids), send(world, **ids)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    own = ids.get("external_id", "key:k1")
    assert [leg["external_id"] for leg in again.json()["legs"]] == [f"{own}:1", f"{own}:2"]
    problem(send(world, **ids, legs=[BUY, SELL | {"sl": "1.41"}]), 409, "DUPLICATE_SIGNAL")
    assert Signal.objects.filter(oco_group__isnull=False).count() == 2


def test_pair_whose_id_a_lone_signal_has_is_refused(world: World) -> None:
    lone = {"feed": "majors", "symbol": "EURUSD", "external_id": "x:1", **BUY}
    assert world.client("paula").post("/api/v1/signals/", lone, format="json").status_code == 201
    problem(send(world, external_id="x"), 409, "DUPLICATE_SIGNAL")
    assert not Signal.objects.filter(oco_group__isnull=False).exists()


def test_faults_of_both_legs_come_at_once(world: World) -> None:
    bad_buy = {"direction": "BUY", "order_type": "STOP", "sl": "1.38", "colour": "red"}
    bad_sell = SELL | {"sl": "1.30", "symbol": "GBPUSD", "time_in_force": "IOC"}
    response = send(world, legs=[bad_buy, bad_sell], symbol="", note="n")
    assert faults(response) == {
        ("legs.0.stop_price", "PRICE_REQUIRED"),
        ("legs.0.colour", "FIELD_UNKNOWN"),
        ("legs.1.sl", "STOP_WRONG_SIDE"),
        ("legs.1.symbol", "FIELD_INVALID"),
        ("legs.1.time_in_force", "FIELD_INVALID"),
        ("symbol", "SYMBOL_UNKNOWN"),
        ("note", "FIELD_UNKNOWN"),
    }
    assert not Signal.objects.filter(oco_group__isnull=False).exists()


@pytest.mark.parametrize(
    ("leg", "field"),
    [
        ({"direction": "BUY"}, "legs.1.order_type"),
        ({"direction": "BUY", "order_type": "MARKET"}, "legs.1.order_type"),
        (BUY | {"action": "CLOSE"}, "legs.1.action"),
        (BUY | {"external_id": "x"}, "legs.1.external_id"),
        (BUY | {"feed": "majors"}, "legs.1.feed"),
        (BUY | {"time_in_force": "DAY"}, "legs.1.time_in_force"),
        (BUY | {"legs": []}, "legs.1.legs"),
        (BUY | {"sl": "1.3", "tp": None}, "legs"),  # the same entry twice
    ],
)
def test_leg_that_cannot_wait_is_refused(world: World, leg: dict[str, Any], field: str) -> None:
    sent = {name: value for name, value in leg.items() if value is not None}
    assert (field, "FIELD_INVALID") in faults(send(world, legs=[BUY, sent]))


@pytest.mark.parametrize("legs", [None, [], [BUY], [BUY, SELL, BUY], "BUY", [BUY, 7]])
def test_pair_has_two_legs(world: World, legs: Any) -> None:
    code = "FIELD_REQUIRED" if legs is None else "FIELD_INVALID"
    assert ("legs", code) in faults(send(world, legs=legs))


def test_longest_external_id_is_98_characters(world: World) -> None:
    assert send(world, external_id="x" * 98).status_code == 201
    assert faults(send(world, external_id="x" * 99)) == {("external_id", "FIELD_INVALID")}


def test_pair_sent_as_a_signal_names_its_own_call(world: World) -> None:
    response = send(world, "")
    assert ("legs", "FIELD_INVALID") in faults(response)
    assert "/api/v1/signals/oco/" in response.content.decode()


def test_bracket_has_a_stop_and_a_target(world: World) -> None:
    bare: dict[str, Any] = {"legs": None, "direction": "BUY"}
    assert faults(send(world, "bracket/", **bare)) == {
        ("sl", "FIELD_REQUIRED"), ("targets", "FIELD_REQUIRED"),
    }  # fmt: skip
    whole = {**bare, "sl": "1.38", "tp": "1.42"}
    response = send(world, "bracket/?publish=true", key="b", **whole)
    assert response.status_code == 201
    assert response.json()["is_published"]
    assert send(world, "bracket/?publish=true", key="b", **whole).status_code == 200
    assert Order.objects.filter(signal=response.json()["id"]).count() == 1


def test_bracket_of_a_close_is_refused(world: World) -> None:
    response = send(world, "bracket/", legs=None, action="CLOSE", refers_to=1)
    assert ("action", "FIELD_INVALID") in faults(response)
