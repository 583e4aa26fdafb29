"""Which orders are cancelled and which positions closed by a choice, also in a dry run."""

from decimal import Decimal
from typing import Any

import pytest

from common.clocks import market_now
from connections.models import Instrument
from execution.models import Order, ScopedAction
from tests.api.factories import World
from tests.api.test_problems import problem


def test_closing_reserves_the_quantity_and_is_refused_when_none_is_left(world: World) -> None:
    alice, path = world.client("alice"), f"/api/v1/positions/{world.position.pk}/close/"
    problem(alice.post(path, {"fraction": "1.5"}, format="json"), 400, "FIELD_INVALID")
    problem(alice.post(path, {"fraction": "NaN"}, format="json"), 400, "NUMBER_MALFORMED")
    exit_order = alice.post(path)
    assert exit_order.status_code == 202
    data = exit_order.json()
    assert (data["side"], data["quantity"], data["position"]) == (
        "SELL",
        "1000",
        world.position.pk,
    )
    problem(alice.post(path), 409, "NOTHING_TO_CLOSE")


def test_operator_must_state_which_orders_and_positions_to_end(world: World) -> None:
    alice, olga = world.client("alice"), world.client("olga")
    for path in ("orders/cancel-all", "positions/close-all"):
        problem(olga.post(f"/api/v1/{path}/", {}, format="json"), 400, "FIELD_REQUIRED")
    cancelled = alice.post("/api/v1/orders/cancel-all/").json()
    assert cancelled == {"ids": [world.pending.pk], "count": 1, "dry_run": False}
    closed = alice.post(
        "/api/v1/positions/close-all/", {"signal": world.published.pk}, format="json"
    )
    assert closed.json()["count"] == 1
    repeated = olga.post("/api/v1/positions/close-all/", {"all": True}, format="json")
    assert repeated.json()["count"] == 0


def choices(world: World) -> dict[str, dict[str, Any]]:
    """Choices that the world's rows fit, and the same that they do not."""
    return {
        "connection": {"connection": str(world.connection.pk)},
        "signal": {"signal": world.published.pk},
        "feed": {"feed": world.feed.slug},
        "symbol": {"symbol": "eurusd"},
        "broker_type": {"broker_type": "paper"},
        "user": {"user": world.alice.pk},
        "another symbol": {"symbol": "GBP/USD"},
        "another type": {"broker_type": "mt5"},
        "one of two": {"symbol": "EUR/USD", "broker_type": "mt5"},
    }


@pytest.mark.parametrize("choice", [
    "connection", "signal", "feed", "symbol", "broker_type", "user", "another symbol",
    "another type", "one of two",
])  # fmt: skip
@pytest.mark.parametrize("name", ["alice", "olga"])
def test_dry_run_returns_what_a_choice_reaches_and_changes_nothing(
    world: World, choice: str, name: str
) -> None:
    client, body = world.client(name), choices(world)[choice] | {"dry_run": True}
    fits = choice in ("connection", "signal", "feed", "symbol", "broker_type", "user")
    shown = client.post("/api/v1/positions/close-all/", body, format="json")
    assert shown.status_code == 200
    assert shown.json()["dry_run"] is True
    assert (world.position.pk in shown.json()["ids"]) is fits
    assert Order.objects.exits().filter(done_at=None).count() == 0
    impact = shown.json()["impact"]
    assert impact["positions"] == (1 if fits else 0)
    orders = client.post("/api/v1/orders/cancel-all/", body, format="json").json()
    assert orders["count"] == len(orders["ids"])
    assert orders["impact"] == impact
    world.pending.refresh_from_db()
    assert world.pending.done_at is None


@pytest.mark.parametrize("path", ["orders/cancel-all", "positions/close-all"])
def test_only_operators_choose_another_user(world: World, path: str) -> None:
    """The name of the scope would show a tenant the names of others."""
    for other in (world.bob.pk, 10**9):
        refused = world.client("alice").post(f"/api/v1/{path}/", {"user": other}, format="json")
        assert (refused.status_code, refused.json()["code"]) == (400, "FIELD_INVALID")
    assert not ScopedAction.objects.exists()
    body = {"user": world.bob.pk, "dry_run": True}
    assert world.client("olga").post(f"/api/v1/{path}/", body, format="json").status_code == 200


def test_dry_run_leaves_out_what_is_being_closed(world: World) -> None:
    alice, path = world.client("alice"), "/api/v1/positions/close-all/"
    shown = alice.post(path, {"dry_run": True}, format="json").json()
    assert world.position.pk in shown["ids"]
    alice.post(path, {}, format="json")
    assert alice.post(path, {"dry_run": True}, format="json").json()["ids"] == []


def test_close_all_counts_positions_as_its_dry_run_does(world: World) -> None:
    alice, path = world.client("alice"), "/api/v1/positions/close-all/"
    Instrument.objects.create(
        book=world.connection.instrument_book, pair="EUR/USD", symbol=world.position.symbol,
        digits=5, pip=Decimal("0.0001"), quantity_min=10, quantity_step=10, quantity_max=400,
        contract_size=100_000, read_at=market_now(),
    )  # fmt: skip
    body: dict[str, Any] = {"connection": str(world.connection.pk)}
    shown = alice.post(path, body | {"dry_run": True}, format="json").json()
    done = alice.post(path, body, format="json").json()
    assert (shown["count"], done["count"], len(done["ids"])) == (1, 1, 3)
    assert alice.post(path, body, format="json").json()["count"] == 0


def test_repeated_request_with_its_key_ends_nothing_more(world: World) -> None:
    alice, path = world.client("alice"), "/api/v1/positions/close-all/"
    key: Any = {"HTTP_IDEMPOTENCY_KEY": "flat-1"}
    body = {"connection": str(world.connection.pk)}
    first = alice.post(path, body, format="json", **key)
    assert (first.status_code, first.json()["count"]) == (202, 1)
    assert alice.post(path, body, format="json", **key).json() == first.json()
    assert Order.objects.exits().filter(pk__in=first.json()["ids"]).count() == 1
    assert alice.post(path, body, format="json").json()["ids"] == []  # without it: a new request
    problem(alice.post(path, {}, format="json", **key), 409, "DUPLICATE_REQUEST")
    problem(alice.post("/api/v1/orders/cancel-all/", body, format="json", **key), 409,
            "DUPLICATE_REQUEST")  # fmt: skip
    assert world.client("bob").post(path, {}, format="json", **key).json()["ids"] == []
    long: Any = {"HTTP_IDEMPOTENCY_KEY": "k" * 256}
    problem(alice.post(path, body, format="json", **long), 400, "FIELD_INVALID")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"feed": "no-such-feed"}, "FIELD_INVALID"),
        ({"symbol": "??"}, "SYMBOL_UNKNOWN"),
        ({"broker_type": "unknown"}, "FIELD_INVALID"),
        ({"everything": True}, "FIELD_UNKNOWN"),
    ],
)
def test_choice_that_names_nothing_is_refused(
    world: World, body: dict[str, Any], code: str
) -> None:
    alice = world.client("alice")
    for path in ("orders/cancel-all", "positions/close-all"):
        problem(alice.post(f"/api/v1/{path}/", body, format="json"), 400, code)
