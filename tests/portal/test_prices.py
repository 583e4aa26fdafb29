"""The price source of an account in the portal: its own broker unless another is chosen."""

import html
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from common.reason_codes import Code
from connections.market_data.sources import get_or_create_broker_source, share_with_all
from connections.models import (
    DataConnection,
    ExecutionConnection,
    SourceHealth,
    TradingPreset,
)
from connections.services import SourceReport, record_source_status, use_own_prices
from tests.connections import make
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from tests.portal.test_actions import refresh

pytestmark = pytest.mark.django_db
ADD = "/accounts/add/?type="
OWN = "This account’s own broker"
ONE_CLICK = "Use its own broker’s prices"


@pytest.fixture
def alice(world: World, signed_in: SignedIn) -> Client:
    return signed_in(world.alice)


def page(client: Client, address: str) -> str:
    return html.unescape(html_of(client.get(address)))


def account_page(client: Client, row: ExecutionConnection) -> str:
    return page(client, f"/accounts/{row.pk}/")


@pytest.mark.parametrize("broker_type", ["crypto", "ibkr", "mt4", "mt5", "mt5-dwx"])
def test_new_account_uses_its_own_brokers_prices_by_default(
    world: World, alice: Client, broker_type: str
) -> None:
    content = page(alice, f"{ADD}{broker_type}")
    assert f'<option value="own" selected>{OWN}</option>' in content
    assert f'<option value="{world.prices.pk}">Recorded quotes</option>' in content


def test_paper_account_cannot_use_its_own_prices(world: World, alice: Client) -> None:
    assert OWN not in page(alice, f"{ADD}paper")
    typed = {"name": "Mine", "account": "P-9", "data_connection": "own"}
    response = alice.post(f"{ADD}paper", typed)
    assert response.status_code == 422
    assert not ExecutionConnection.objects.filter(account="P-9").exists()


def test_source_is_created_with_its_account(world: World, alice: Client, as_web: None) -> None:
    typed = {
        "name": "Mine",
        "account": "77",
        "exchange_name": "binance",
        "data_connection": "own",
        "settings.symbols": "BTC/USDT",
    }
    alice.post(f"{ADD}crypto", typed)
    row = ExecutionConnection.objects.get(account="77")
    content = html.unescape(html_of(alice.get(f"/accounts/{row.pk}/")))
    assert row.data_connection is not None
    assert (row.data_connection.broker_connection, row.data_connection.user) == (row, world.alice)
    assert "this account’s own broker" in content


@pytest.fixture
def without_source(world: World) -> None:
    """Remove the price source of two accounts. Request it before `as_web`."""
    rows = ExecutionConnection.objects.filter(pk__in=[world.mt4.pk, world.twin.pk])
    rows.update(data_connection=None)


def test_account_without_a_source_gets_its_own_by_one_click(
    world: World, alice: Client, without_source: None, as_web: None
) -> None:
    content = account_page(alice, world.mt4)
    assert "No price source" in content
    assert ONE_CLICK in content
    response = alice.post(f"/accounts/{world.mt4.pk}/own-prices/", follow=True)
    assert refresh(world.mt4).data_connection.broker_connection_id == world.mt4.pk
    content = html.unescape(html_of(response))
    assert "from the next signal on" in content
    assert ONE_CLICK not in content


def test_paper_account_without_a_source_must_choose_one(
    world: World, alice: Client, without_source: None
) -> None:
    content = account_page(alice, world.twin)
    assert "Choose a price source" in content
    assert ONE_CLICK not in content


def test_account_of_a_missing_package_has_a_page(world: World, alice: Client) -> None:
    ExecutionConnection.objects.filter(pk=world.twin.pk).update(type="gone", data_connection=None)
    content = account_page(alice, world.twin)
    assert "No price source" in content
    assert ONE_CLICK not in content


def test_form_selects_the_stored_source_and_saving_keeps_it(world: World, alice: Client) -> None:
    account = make.connection(
        world.alice, type="crypto", exchange_name="binance", settings={"symbols": "BTC/USDT"}
    )
    source = use_own_prices(account.pk, by=world.alice)
    if not TradingPreset.objects.filter(pk=source.pk).exists():
        make.preset(pk=source.pk, owner=world.alice)  # another choice with the same id
    edit = f"/accounts/{account.pk}/edit/"
    content = page(alice, edit).partition('<select name="data_connection"')[2]
    content = content.partition("</select>")[0]
    assert f'<option value="own" selected>{OWN}</option>' in content
    assert f'<option value="{source.pk}"' not in content
    typed = {"name": account.name, "preset": world.preset.pk, "data_connection": "own",
             "settings.symbols": "BTC/USDT"}  # fmt: skip
    for choice, expected in (("own", source), (world.prices.pk, world.prices), ("own", source)):
        alice.post(edit, {**typed, "data_connection": choice})
        assert refresh(account).data_connection == expected


def test_inactive_source_stays_selected_until_another_is_chosen(
    world: World, alice: Client
) -> None:
    DataConnection.objects.filter(pk=world.prices.pk).update(is_active=False)
    edit = f"/accounts/{world.twin.pk}/edit/"
    assert f'<option value="{world.prices.pk}" selected>' in page(alice, edit)
    assert "Switched off" in account_page(alice, world.twin)


def test_source_is_offered_to_ones_own_accounts_only(
    world: World, alice: Client, signed_in: SignedIn
) -> None:
    source = get_or_create_broker_source(world.mt4, by=world.alice)
    real = make.connection(
        world.alice, type="crypto", exchange_name="binance", settings={"symbols": "BTC/USDT"}
    )
    edit = f"/accounts/{real.pk}/edit/"
    assert source.name in page(alice, edit)
    typed = {"name": "Second", "preset": world.preset.pk, "data_connection": source.pk,
             "settings.symbols": "BTC/USDT"}  # fmt: skip
    alice.post(edit, typed)
    assert refresh(real).data_connection == source
    content = account_page(alice, real)
    assert f'<a href="/accounts/{world.mt4.pk}/">Old MT4</a>’s broker' in content
    bob = signed_in(world.bob)
    theirs = f"/accounts/{world.bobs.pk}/edit/"
    assert source.name not in page(bob, theirs)
    assert bob.post(theirs, {**typed, "name": "Bob's"}).status_code == 422
    assert bob.post(f"/accounts/{world.mt4.pk}/own-prices/").status_code == 404


def test_paper_account_is_offered_shared_sources_only(world: World, alice: Client) -> None:
    own = get_or_create_broker_source(world.mt4, by=world.alice)
    shared = get_or_create_broker_source(
        make.connection(type="mt4", admin=world.olga, name="The house")
    )
    share_with_all(shared, by=world.olga)
    edit = f"/accounts/{world.twin.pk}/edit/"
    for address in (edit, f"{ADD}paper"):
        content = page(alice, address)
        assert own.name not in content
        assert shared.name in content
        assert Code.PAPER_NEEDS_SHARED.sentence in content
    typed = {"name": "Twin", "preset": world.preset.pk, "settings.native_stops": "on"}
    assert alice.post(edit, {**typed, "data_connection": own.pk}).status_code == 422
    added = {**typed, "account": "P-9", "data_connection": own.pk}
    assert alice.post(f"{ADD}paper", added).status_code == 422
    assert not ExecutionConnection.objects.filter(account="P-9").exists()
    assert refresh(world.twin).data_connection == world.prices
    alice.post(edit, {**typed, "data_connection": shared.pk})
    assert refresh(world.twin).data_connection == shared


def test_existing_source_of_a_paper_account_stays_selected(world: World, alice: Client) -> None:
    own = get_or_create_broker_source(world.mt4, by=world.alice)
    ExecutionConnection.objects.filter(pk=world.twin.pk).update(data_connection=own)
    edit = f"/accounts/{world.twin.pk}/edit/"
    assert f'<option value="{own.pk}" selected>' in page(alice, edit)
    typed = {"name": "Renamed", "preset": world.preset.pk, "data_connection": own.pk,
             "settings.native_stops": "on"}  # fmt: skip
    alice.post(edit, typed)
    assert refresh(world.twin).name == "Renamed"


def source_with_health(world: World, **fields: Any) -> SourceHealth:
    source = use_own_prices(world.mt4.pk, by=world.alice)
    return SourceHealth.objects.create(source=source, **fields)


@pytest.mark.parametrize(
    ("fields", "texts"),
    [
        ({"pairs": ["EUR/USD", "XAU/USD"]}, ["Delivering", "Follows EUR/USD, XAU/USD."]),
        ({"pairs": ["EUR/USD"], "last_contact_at": None},
         ["Starting", "no prices have come in yet"]),
        ({"pairs": []}, ["Waiting", "No pair is needed yet"]),
        ({"pairs": ["EUR/USD", "XAU/USD"], "missing": ["XAU/USD"]},
         ["Partial", "No usable price of XAU/USD.", "that its market is open"]),
        ({"error_code": "INVALID_QUOTE", "pairs": ["EUR/USD"]}, ["Partial"]),
        ({"last_contact_at": None, "error_code": "CONNECTION_ERROR", "error": "Wrong password."},
         ["No prices", "Wrong password.", Code.CONNECTION_ERROR.hint]),
    ],
)  # fmt: skip
def test_page_states_the_status_of_the_source(
    world: World, alice: Client, fields: dict[str, Any], texts: list[str]
) -> None:
    source_with_health(world, **{"last_contact_at": datetime.now(UTC), **fields})
    content = account_page(alice, world.mt4)
    for text in texts:
        assert text in content


def test_account_without_prices_is_not_ready_to_trade(
    world: World, alice: Client, workers: None
) -> None:
    source = use_own_prices(world.ibkr.pk, by=world.alice)
    health = SourceHealth.objects.create(
        source=source, last_contact_at=datetime.now(UTC), pairs=["EUR/USD"]
    )
    ready = "Ready to trade the next signal."
    assert ready in account_page(alice, world.ibkr)
    health.last_contact_at, health.error_code = None, Code.NO_MARKET_DATA
    health.save()
    content = account_page(alice, world.ibkr)
    assert ready not in content
    assert "entries are refused until it does" in content
    listed = page(alice, "/accounts/")
    assert f'<a href="/accounts/{world.ibkr.pk}/">See its prices</a>' in listed


def test_source_without_a_worker_states_what_to_start(world: World, alice: Client) -> None:
    source_with_health(
        world, last_contact_at=datetime.now(UTC) - timedelta(hours=2), pairs=["EUR/USD"]
    )
    content = account_page(alice, world.mt4)
    assert "No prices for 2 h" in content
    assert "worker" in content.split('id="prices"')[1].split("</section>")[0].lower()


@pytest.fixture
def shared(world: World) -> DataConnection:
    """Share the prices of an operator's account, which fails. Request it before `as_web`."""
    source = get_or_create_broker_source(make.connection(type="mt4", admin=world.olga))
    share_with_all(source, by=world.olga)
    SourceHealth.objects.create(
        source=source, error_code=Code.CONNECTION_ERROR, error="Login 4711 is wrong."
    )
    ExecutionConnection.objects.filter(pk=world.twin.pk).update(data_connection=source)
    return source


def test_tenants_see_no_broker_details_of_an_operators_source(
    world: World, alice: Client, shared: DataConnection, as_web: None
) -> None:
    content = account_page(alice, world.twin)
    assert "No prices" in content
    assert shared.name in content
    assert "4711 is wrong" not in content


@pytest.fixture(params=[[], ["XAU/USD"]], ids=["all", "partial"])
def missing(shared: DataConnection, request: pytest.FixtureRequest) -> list[str]:
    """Let the source deliver all or some of its pairs. Request it before `as_web`."""
    state = SourceHealth.objects.get(source=shared)
    state.last_contact_at, state.error_code, state.error = datetime.now(UTC), "", ""
    state.pairs, state.missing = ["EUR/USD", "XAU/USD"], request.param
    state.save()
    return state.missing


def test_tenants_do_not_see_which_pairs_others_trade(
    world: World, alice: Client, missing: list[str], as_web: None
) -> None:
    content = account_page(alice, world.twin).split('id="prices"')[1].split("</section>")[0]
    assert "No prices" not in content
    assert ("It has no usable price of some pairs." in content) == bool(missing)
    assert ("Partial" if missing else "Delivering") in content
    assert "/USD" not in content


def test_account_page_states_which_quotes_were_held_back(world: World, alice: Client) -> None:
    source = use_own_prices(world.mt4.pk, by=world.alice)
    assert source is not None
    assert "Held back" not in account_page(alice, world.mt4)
    record_source_status(
        SourceReport(source.pk, is_alive=True, held_back=2, last_held="EUR/USD 0.5500/0.5502")
    )
    content = " ".join(account_page(alice, world.mt4).split())
    assert "2 quotes far from the one before" in content
    assert "last EUR/USD 0.5500/0.5502" in content


def test_tenant_chooses_a_fallback(world: World, alice: Client) -> None:
    """Of sources of their own and of shared ones; the page then shows what is used."""
    own = use_own_prices(world.mt4.pk, by=world.alice)
    pushed = {"kind": "push", "settings": {"symbols": ["EUR/USD"]}}
    backup = DataConnection.objects.create(name="Backup", user=world.alice, **pushed)
    others = DataConnection.objects.create(name="Bob's", user=world.bob, **pushed)
    choices = account_page(alice, world.mt4).partition('name="fallback"')[2].partition("</select>")
    assert f'<option value="{backup.pk}"' in choices[0]
    assert f'<option value="{others.pk}"' not in choices[0]
    address = f"/accounts/{world.mt4.pk}/fallback/"
    for chosen, expected in ((str(backup.pk), backup.pk), (str(others.pk), backup.pk), ("", None)):
        alice.post(address, {"fallback": chosen})
        own.refresh_from_db()
        assert own.fallback_id == expected
    for invalid in ("x", "٣", "9" * 30):
        assert alice.post(address, {"fallback": invalid}).status_code == 302
    SourceHealth.objects.update_or_create(
        source=own,
        defaults={
            "pairs": ["EUR/USD"], "on_fallback": ["EUR/USD"], "fallback_names": "Backup",
            "last_contact_at": datetime.now(UTC),
        },
    )  # fmt: skip
    assert "EUR/USD: the prices of Backup, shifted" in account_page(alice, world.mt4)


def test_account_with_a_shared_source_chooses_no_fallback(world: World, alice: Client) -> None:
    assert 'name="fallback"' not in account_page(alice, world.twin)
