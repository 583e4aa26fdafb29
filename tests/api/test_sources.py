"""Price sources over HTTP: an account's own broker, each source's status, switching one off."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from common.reason_codes import Code
from connections.market_data.sources import get_or_create_broker_source, share_with_all
from connections.models import DataConnection, ExecutionConnection, SourceHealth
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.connections import make

PATH = "/api/v1/data-connections/"
NEW = {
    "name": "n",
    "type": "crypto",
    "exchange_name": "binance",
    "account": "77",
    "settings": {"symbols": "BTC/USDT"},
}


def post(world: World, body: dict[str, Any]) -> Any:
    return world.client("alice").post("/api/v1/connections/", body, format="json")


def test_new_account_uses_its_own_brokers_prices(world: World, as_web: AsWeb) -> None:
    with as_web():
        created = post(world, {**NEW, "own_prices": True})
    assert created.status_code == 201, created.content
    source = DataConnection.objects.get(broker_connection=created.json()["id"])
    assert created.json()["data_connection"] == source.pk
    assert "own_prices" not in created.json()
    assert (source.kind, source.user) == ("broker", world.alice)


def test_existing_account_is_changed_to_its_own_brokers_prices(world: World, as_web: AsWeb) -> None:
    account = make.connection(world.alice, type="mt4")
    with as_web():
        address = f"/api/v1/connections/{account.pk}/"
        body = {"own_prices": True, "name": "renamed"}
        response = world.client("alice").patch(address, body, format="json")
        assert response.status_code == 200, response.content
        source = DataConnection.objects.get(broker_connection=account)
        data = world.client("alice").get(f"{PATH}{source.pk}/").json()
    assert (response.json()["data_connection"], response.json()["name"]) == (source.pk, "renamed")
    assert (data["broker_connection"], data["kind"], data["is_shared"]) == (
        str(account.pk), "broker", False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"own_prices": True, "data_connection": None}, "own_prices"),
        (
            {"own_prices": True, "type": "paper", "exchange_name": "", "settings": {}},
            "data_connection",
        ),
    ],
)
def test_invalid_price_source_is_refused_and_nothing_is_created(
    world: World, as_web: AsWeb, body: dict[str, Any], field: str
) -> None:
    with as_web():
        response = post(world, {**NEW, **body})
    assert (response.status_code, response.json()["code"]) == (400, "FIELD_INVALID")
    assert field in response.content.decode()
    assert not ExecutionConnection.objects.filter(account="77").exists()


def test_paper_account_is_refused_a_source_that_does_not_price_it(
    world: World, as_web: AsWeb
) -> None:
    own = get_or_create_broker_source(make.connection(world.alice, type="mt4"))
    paper = make.connection(world.alice)
    address = f"/api/v1/connections/{paper.pk}/"
    body = {"name": "n", "type": "paper", "account": "77", "data_connection": own.pk}
    with as_web():
        created = post(world, body)
        changed = world.client("alice").patch(address, {"data_connection": own.pk}, format="json")
    for response in (created, changed):
        assert (response.status_code, response.json()["code"]) == (400, "PAPER_NEEDS_SHARED")
        assert "data_connection" in response.content.decode()
        assert Code.PAPER_NEEDS_SHARED.hint in response.content.decode()
    assert not ExecutionConnection.objects.filter(account="77").exists()


def test_source_states_its_status(world: World, as_web: AsWeb) -> None:
    source = get_or_create_broker_source(
        make.connection(world.alice, type="crypto", exchange_name="binance")
    )
    now = datetime.now(UTC)
    state = SourceHealth.objects.create(source=source, last_contact_at=now, pairs=["BTC/USD"])
    with as_web():
        data = world.client("alice").get(f"{PATH}{source.pk}/").json()
    assert (data["status"]["state"], data["status"]["is_well"]) == ("Delivering", True)
    assert (data["pairs"], data["error_code"]) == (["BTC/USD"], "")
    state.error_code, state.error, state.failing_since = Code.CONNECTION_ERROR, "No login.", now
    state.save()
    with as_web():
        data = world.client("alice").get(f"{PATH}{source.pk}/").json()
    assert not data["status"]["is_well"]
    assert data["error_code"] == "CONNECTION_ERROR"
    assert data["status"]["message"].endswith("No login.")
    assert data["status"]["remedy"] == Code.CONNECTION_ERROR.hint
    assert data["failing_since"]


def test_tenants_see_no_broker_details_of_an_operators_source(world: World, as_web: AsWeb) -> None:
    account = make.connection(type="mt4", admin=world.olga)
    source = get_or_create_broker_source(account)
    share_with_all(source, by=world.olga)
    SourceHealth.objects.create(
        source=source, last_contact_at=datetime.now(UTC) - timedelta(hours=1),
        error_code=Code.CONNECTION_ERROR, error="Login 4711 is wrong.",
    )  # fmt: skip
    with as_web():
        shown = world.client("bob").get(f"{PATH}{source.pk}/")
        off = world.client("bob").patch(f"{PATH}{source.pk}/", {"is_active": False}, format="json")
    assert shown.json()["status"]["state"] == "No prices"
    assert shown.json()["is_shared"]
    assert shown.json()["broker_connection"] is None
    assert "4711 is wrong" not in shown.content.decode()
    assert off.status_code == 404
    assert "4711 is wrong" in world.client("olga").get(f"{PATH}{source.pk}/").content.decode()


def test_pairs_of_a_shared_source_are_visible_to_operators_and_its_owner_only(
    world: World, as_web: AsWeb
) -> None:
    """They are the pairs that other tenants hold and have ordered."""
    source = get_or_create_broker_source(make.connection(type="mt4", admin=world.olga))
    share_with_all(source, by=world.olga)
    own = get_or_create_broker_source(make.connection(world.bob, type="mt4"))
    now = datetime.now(UTC)
    pairs, missing = ["EUR/USD", "XAU/USD"], ["XAU/USD"]
    for followed in (source, own):
        SourceHealth.objects.create(
            source=followed, last_contact_at=now, pairs=pairs, missing=missing
        )
    with as_web():
        listed = {row["id"]: row for row in world.client("bob").get(PATH).json()["results"]}
    data = listed[source.pk]
    assert (data["pairs"], data["missing"]) == ([], [])
    assert data["status"]["message"] == "It has no usable price of some pairs."
    assert "/USD" not in str(data)
    assert (listed[own.pk]["pairs"], listed[own.pk]["missing"]) == (pairs, missing)
    unrestricted = world.client("olga").get(f"{PATH}{source.pk}/").json()
    assert (unrestricted["pairs"], unrestricted["missing"]) == (pairs, missing)
    assert "XAU/USD" in unrestricted["status"]["message"]
    SourceHealth.objects.filter(source=source).update(missing=[])
    with as_web():
        data = world.client("bob").get(f"{PATH}{source.pk}/").json()
    assert (data["status"]["state"], data["status"]["message"]) == ("Delivering", "")


def test_own_source_is_switched_off_and_on(world: World, as_web: AsWeb) -> None:
    account = make.connection(world.alice, type="mt4")
    address = f"{PATH}{get_or_create_broker_source(account).pk}/"
    alice = world.client("alice")
    with as_web():
        off = alice.patch(address, {"is_active": False}, format="json")
        on = alice.patch(address, {"is_active": True}, format="json")
        name = alice.patch(address, {"kind": "static"}, format="json")
    assert off.json()["is_active"] is False
    assert off.json()["status"]["state"] == "Switched off"
    assert on.json()["is_active"] is True
    assert name.status_code == 400


def test_source_of_an_archived_account_stays_off(world: World, as_web: AsWeb) -> None:
    account = make.connection(world.alice, type="mt4")
    source = get_or_create_broker_source(account)
    DataConnection.objects.filter(pk=source.pk).update(is_active=False)
    ExecutionConnection.objects.filter(pk=account.pk).update(
        archived_at=datetime.now(UTC), is_active=False
    )
    with as_web():
        response = world.client("alice").patch(
            f"{PATH}{source.pk}/", {"is_active": True}, format="json"
        )
    assert (response.status_code, response.json()["code"]) == (409, "STATE_CONFLICT")
