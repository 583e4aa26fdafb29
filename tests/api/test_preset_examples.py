"""What a preset means for an account, over the API: an example in money, and what is open there."""

from decimal import Decimal
from typing import Any

import pytest

from analytics.what_if.sizing_example import Asked, sizing_example
from common.clocks import market_now
from connections.models import AccountSnapshot, ExecutionConnection, TradingPreset
from execution.models import Order
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.api.test_problems import problem
from tests.connections import make
from tests.execution import factories

D = Decimal


@pytest.fixture
def account(world: World) -> ExecutionConnection:
    """Alice's paper account of 10,035.80 USD, whose broker lists EUR/USD in micro lots."""
    make.instrument(
        "EURUSD", "EUR/USD", book="paper", digits=5, pip=D("0.0001"), quantity_min=D(1000),
        quantity_step=D(1000), quantity_max=D(50_000_000), contract_size=D(100_000),
    )  # fmt: skip
    row = factories.account(None, type="paper", instrument_book="paper")
    AccountSnapshot.objects.filter(connection=row).update(
        balance=D("10035.80"), equity=D("10035.80"), free_margin=D("10035.80")
    )
    ExecutionConnection.objects.filter(pk=row.pk).update(user=world.alice)
    TradingPreset.objects.filter(pk=world.preset.pk).update(
        sizing_mode="RISK_PERCENT", risk_percent=1
    )
    world.preset.refresh_from_db()
    row.refresh_from_db()
    return row


def get(world: World, path: str, query: dict[str, Any], who: str = "alice") -> Any:
    return world.client(who).get(f"/api/v1/presets/{world.preset.pk}/{path}/", query)


def test_one_percent_and_a_stop_of_30_pips_are_a_third_of_a_lot(
    world: World, account: ExecutionConnection, as_web: AsWeb
) -> None:
    query = {"connection": str(account.pk), "symbol": "EURUSD", "stop_pips": "30"}
    with as_web():
        answer = get(world, "example", query)
    assert answer.status_code == 200, answer.content
    found = answer.json()
    # 100.358 / (30 pips of 0.0001) = 33,452.67 units, in steps of 1,000
    assert (found["quantity"], found["lots"], found["risk"]) == ("33000", "0.33", "99")
    assert (found["currency"], found["pair"], found["quantity_step"]) == ("USD", "EUR/USD", "1000")
    assert found["reason"] is None
    by_engine = sizing_example(world.preset, account.pk, Asked("EUR/USD"))
    assert D(found["margin"]) == by_engine.margin
    assert D(found["stop"]) == by_engine.stop


def test_terms_in_the_address_are_tried_and_not_stored(
    world: World, account: ExecutionConnection
) -> None:
    query = {"connection": str(account.pk), "stop_pips": "30"}
    assert get(world, "example", query | {"risk_percent": "0.5"}).json()["quantity"] == "16000"
    denied = get(world, "example", query | {"max_quantity": "1000"}).json()
    assert (denied["quantity"], denied["reason"]["code"]) == (None, "MAX_QUANTITY")
    assert denied["reason"]["figures"]["maximum"] == "1000"
    others = get(world, "example", query | {"allowed_symbols": "USD/JPY, XAU/USD"}).json()
    assert others["reason"]["code"] == "SYMBOL_NOT_ALLOWED"
    world.preset.refresh_from_db()
    assert (world.preset.risk_percent, world.preset.limits.max_quantity) == (1, None)


def test_archived_account_has_no_example_and_uses_no_preset(
    world: World, account: ExecutionConnection
) -> None:
    TradingPreset.objects.filter(pk=world.preset.pk).update(user=world.alice)
    ExecutionConnection.objects.filter(pk=account.pk).update(preset=world.preset)
    query = {"connection": str(account.pk), "stop_pips": "30"}

    def found() -> tuple[int, bool]:
        uses = get(world, "uses", {}).json()
        named = str(account.pk) in str(uses)
        return get(world, "example", query).status_code, named

    assert found() == (200, True)
    ExecutionConnection.objects.filter(pk=account.pk).update(archived_at=market_now())
    assert found() == (404, False)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"stop_pips": "-3"}, "stop_pips"),
        ({"risk_percent": "101"}, "risk_percent"),
        ({"side": "LONG"}, "side"),
        ({"symbol": "no such thing"}, "symbol"),
        ({"colour": "red"}, "colour"),
        ({"user": "1"}, "user"),
        ({"sizing_mode": "FIXED"}, "fixed_quantity"),
    ],
)
def test_wrong_values_are_refused_by_their_field(
    world: World, account: ExecutionConnection, query: dict[str, str], field: str
) -> None:
    answer = get(world, "example", {"connection": str(account.pk), **query})
    assert answer.status_code == 400, answer.content
    assert field in [one["field"] for one in answer.json()["errors"]]


def test_example_is_of_ones_own_account_with_a_known_balance(
    world: World, account: ExecutionConnection
) -> None:
    problem(get(world, "example", {"connection": str(account.pk)}, "bob"), 404, "NOT_FOUND")
    AccountSnapshot.objects.filter(connection=account).delete()
    problem(get(world, "example", {"connection": str(account.pk)}), 409, "ACCOUNT_NOT_SYNCED")


def test_uses_state_what_a_change_meets(world: World, as_web: AsWeb) -> None:
    expected = {
        "connection": str(world.connection.pk), "connection_name": world.connection.name,
        "positions": 1, "working": 0, "waiting": 0, "later_slices": 1, "held": 0,
    }  # fmt: skip
    with as_web():
        found = get(world, "uses", {}).json()
    assert expected in found
    Order.objects.filter(pk=world.pending.pk).update(status="SUBMITTED", client_order_id="x" * 17)
    assert expected | {"later_slices": 0, "working": 1} in get(world, "uses", {}).json()
