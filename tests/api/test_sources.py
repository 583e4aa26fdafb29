"""Price sources over HTTP: an account's own broker, how each fares, and switching one's own off."""

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


def test_a_new_account_goes_by_its_own_broker(world: World, as_web: AsWeb) -> None:
    with as_web():
        made = post(world, {**NEW, "own_prices": True})
    assert made.status_code == 201, made.content
    source = DataConnection.objects.get(broker_connection=made.json()["id"])
    assert made.json()["data_connection"] == source.pk
    assert "own_prices" not in made.json()
    assert (source.kind, source.user) == ("broker", world.alice)


def test_an_account_that_is_there_takes_its_own_broker(world: World, as_web: AsWeb) -> None:
    account = make.connection(world.alice, type="mt4")
    with as_web():
        address = f"/api/v1/connections/{account.pk}/"
        body = {"own_prices": True, "name": "renamed"}
        said = world.client("alice").patch(address, body, format="json")
        assert said.status_code == 200, said.content
        source = DataConnection.objects.get(broker_connection=account)
        shown = world.client("alice").get(f"{PATH}{source.pk}/").json()
    assert (said.json()["data_connection"], said.json()["name"]) == (source.pk, "renamed")
    assert (shown["broker_connection"], shown["kind"], shown["is_shared"]) == (
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
def test_what_cannot_be_is_refused_and_nothing_is_made(
    world: World, as_web: AsWeb, body: dict[str, Any], field: str
) -> None:
    with as_web():
        said = post(world, {**NEW, **body})
    assert (said.status_code, said.json()["code"]) == (400, "FIELD_INVALID")
    assert field in said.content.decode()
    assert not ExecutionConnection.objects.filter(account="77").exists()


def test_paper_is_refused_what_never_prices_it(world: World, as_web: AsWeb) -> None:
    own = get_or_create_broker_source(make.connection(world.alice, type="mt4"))
    paper = make.connection(world.alice)
    address = f"/api/v1/connections/{paper.pk}/"
    body = {"name": "n", "type": "paper", "account": "77", "data_connection": own.pk}
    with as_web():
        made = post(world, body)
        changed = world.client("alice").patch(address, {"data_connection": own.pk}, format="json")
    for said in (made, changed):
        assert (said.status_code, said.json()["code"]) == (400, "PAPER_NEEDS_SHARED")
        assert "data_connection" in said.content.decode()
        assert Code.PAPER_NEEDS_SHARED.hint in said.content.decode()
    assert not ExecutionConnection.objects.filter(account="77").exists()


def test_a_source_tells_how_it_fares(world: World, as_web: AsWeb) -> None:
    source = get_or_create_broker_source(
        make.connection(world.alice, type="crypto", exchange_name="binance")
    )
    now = datetime.now(UTC)
    state = SourceHealth.objects.create(source=source, last_contact_at=now, pairs=["BTC/USD"])
    with as_web():
        shown = world.client("alice").get(f"{PATH}{source.pk}/").json()
    assert (shown["status"]["state"], shown["status"]["is_well"]) == ("Delivering", True)
    assert (shown["pairs"], shown["error_code"]) == (["BTC/USD"], "")
    state.error_code, state.error, state.failing_since = Code.CONNECTION_ERROR, "No login.", now
    state.save()
    with as_web():
        shown = world.client("alice").get(f"{PATH}{source.pk}/").json()
    assert not shown["status"]["is_well"]
    assert shown["error_code"] == "CONNECTION_ERROR"
    assert shown["status"]["message"].endswith("No login.")
    assert shown["status"]["remedy"] == Code.CONNECTION_ERROR.hint
    assert shown["failing_since"]


def test_of_an_operators_source_tenants_hear_no_word_of_its_broker(
    world: World, as_web: AsWeb
) -> None:
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
    assert "4711" not in shown.content.decode()
    assert off.status_code == 404
    assert "4711" in world.client("olga").get(f"{PATH}{source.pk}/").content.decode()


def test_which_pairs_a_shared_source_follows_is_read_by_operators_and_its_owner_alone(
    world: World, as_web: AsWeb
) -> None:
    """They are what others hold and have ordered."""
    source = get_or_create_broker_source(make.connection(type="mt4", admin=world.olga))
    share_with_all(source, by=world.olga)
    own = get_or_create_broker_source(make.connection(world.bob, type="mt4"))
    now = datetime.now(UTC)
    pairs, missing = ["EUR/USD", "XAU/USD"], ["XAU/USD"]
    for one in (source, own):
        SourceHealth.objects.create(source=one, last_contact_at=now, pairs=pairs, missing=missing)
    with as_web():
        listed = {row["id"]: row for row in world.client("bob").get(PATH).json()["results"]}
    shown = listed[source.pk]
    assert (shown["pairs"], shown["missing"]) == ([], [])
    assert shown["status"]["message"] == "It has no usable price of some pairs."
    assert "/USD" not in str(shown)
    assert (listed[own.pk]["pairs"], listed[own.pk]["missing"]) == (pairs, missing)
    for_all = world.client("olga").get(f"{PATH}{source.pk}/").json()
    assert (for_all["pairs"], for_all["missing"]) == (pairs, missing)
    assert "XAU/USD" in for_all["status"]["message"]
    SourceHealth.objects.filter(source=source).update(missing=[])
    with as_web():
        shown = world.client("bob").get(f"{PATH}{source.pk}/").json()
    assert (shown["status"]["state"], shown["status"]["message"]) == ("Delivering", "")


def test_ones_own_is_switched_off_and_on(world: World, as_web: AsWeb) -> None:
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


def test_one_that_no_live_account_tells_stays_off(world: World, as_web: AsWeb) -> None:
    account = make.connection(world.alice, type="mt4")
    source = get_or_create_broker_source(account)
    DataConnection.objects.filter(pk=source.pk).update(is_active=False)
    ExecutionConnection.objects.filter(pk=account.pk).update(
        archived_at=datetime.now(UTC), is_active=False
    )
    with as_web():
        said = world.client("alice").patch(
            f"{PATH}{source.pk}/", {"is_active": True}, format="json"
        )
    assert (said.status_code, said.json()["code"]) == (409, "STATE_CONFLICT")
