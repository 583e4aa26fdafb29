"""Where an account's prices come from, on the portal: its own broker unless another is chosen."""

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
from connections.services import use_own_prices
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


@pytest.mark.parametrize("kind", ["crypto", "ibkr", "mt4", "mt5", "mt5-dwx"])
def test_a_new_account_goes_by_its_own_broker_unless_told_otherwise(
    world: World, alice: Client, kind: str
) -> None:
    said = page(alice, f"{ADD}{kind}")
    assert f'<option value="own" selected>{OWN}</option>' in said
    assert f'<option value="{world.prices.pk}">Recorded quotes</option>' in said


def test_the_paper_broker_has_no_prices_of_its_own(world: World, alice: Client) -> None:
    assert OWN not in page(alice, f"{ADD}paper")
    typed = {"name": "Mine", "account": "P-9", "data_connection": "own"}
    answer = alice.post(f"{ADD}paper", typed)
    assert answer.status_code == 422
    assert not ExecutionConnection.objects.filter(account="P-9").exists()


def test_the_choice_makes_the_source_with_the_account(
    world: World, alice: Client, as_web: None
) -> None:
    typed = {
        "name": "Mine",
        "account": "77",
        "exchange_name": "binance",
        "data_connection": "own",
        "settings.symbols": "BTC/USDT",
    }
    told = html.unescape(html_of(alice.post(f"{ADD}crypto", typed, follow=True)))
    row = ExecutionConnection.objects.get(account="77")
    assert row.data_connection is not None
    assert (row.data_connection.broker_connection, row.data_connection.user) == (row, world.alice)
    assert "this account’s own broker" in told


@pytest.fixture
def without(world: World) -> None:
    """Two accounts have no price source. Before `as_web`."""
    rows = ExecutionConnection.objects.filter(pk__in=[world.mt4.pk, world.twin.pk])
    rows.update(data_connection=None)


def test_an_account_without_a_source_takes_its_own_by_one_click(
    world: World, alice: Client, without: None, as_web: None
) -> None:
    said = account_page(alice, world.mt4)
    assert "No price source" in said
    assert ONE_CLICK in said
    told = alice.post(f"/accounts/{world.mt4.pk}/own-prices/", follow=True)
    assert refresh(world.mt4).data_connection.broker_connection_id == world.mt4.pk
    shown = html.unescape(html_of(told))
    assert "from the next signal on" in shown
    assert ONE_CLICK not in shown


def test_a_paper_account_without_a_source_chooses_one(
    world: World, alice: Client, without: None
) -> None:
    said = account_page(alice, world.twin)
    assert "Choose a price source" in said
    assert ONE_CLICK not in said


def test_an_account_whose_package_is_gone_has_a_page(world: World, alice: Client) -> None:
    ExecutionConnection.objects.filter(pk=world.twin.pk).update(type="gone", data_connection=None)
    said = account_page(alice, world.twin)
    assert "No price source" in said
    assert ONE_CLICK not in said


def test_the_form_says_what_is_so_and_saving_it_changes_nothing(
    world: World, alice: Client
) -> None:
    account = make.connection(
        world.alice, type="crypto", exchange_name="binance", settings={"symbols": "BTC/USDT"}
    )
    source = use_own_prices(account.pk, by=world.alice)
    if not TradingPreset.objects.filter(pk=source.pk).exists():  # by chance
        make.preset(pk=source.pk, owner=world.alice)  # of the same number, among other choices
    edit = f"/accounts/{account.pk}/edit/"
    said = page(alice, edit).partition('<select name="data_connection"')[2]
    said = said.partition("</select>")[0]
    assert f'<option value="own" selected>{OWN}</option>' in said
    assert f'<option value="{source.pk}"' not in said
    typed = {"name": account.name, "preset": world.preset.pk, "data_connection": "own",
             "settings.symbols": "BTC/USDT"}  # fmt: skip
    for chosen, becomes in (("own", source), (world.prices.pk, world.prices), ("own", source)):
        alice.post(edit, {**typed, "data_connection": chosen})
        assert refresh(account).data_connection == becomes


def test_a_source_that_is_off_stays_chosen_until_another_is(world: World, alice: Client) -> None:
    DataConnection.objects.filter(pk=world.prices.pk).update(is_active=False)
    edit = f"/accounts/{world.twin.pk}/edit/"
    assert f'<option value="{world.prices.pk}" selected>' in page(alice, edit)
    assert "Switched off" in account_page(alice, world.twin)


def test_another_account_of_mine_may_go_by_it_and_nobody_elses(
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
    said = account_page(alice, real)
    assert f'<a href="/accounts/{world.mt4.pk}/">Old MT4</a>’s broker' in said
    bob = signed_in(world.bob)
    theirs = f"/accounts/{world.bobs.pk}/edit/"
    assert source.name not in page(bob, theirs)
    assert bob.post(theirs, {**typed, "name": "Bob's"}).status_code == 422
    assert bob.post(f"/accounts/{world.mt4.pk}/own-prices/").status_code == 404


def test_paper_is_offered_only_what_prices_it(world: World, alice: Client) -> None:
    own = get_or_create_broker_source(world.mt4, by=world.alice)
    shared = get_or_create_broker_source(
        make.connection(type="mt4", admin=world.olga, name="The house")
    )
    share_with_all(shared, by=world.olga)
    edit = f"/accounts/{world.twin.pk}/edit/"
    for address in (edit, f"{ADD}paper"):
        said = page(alice, address)
        assert own.name not in said
        assert shared.name in said
        assert Code.PAPER_NEEDS_SHARED.sentence in said
    typed = {"name": "Twin", "preset": world.preset.pk, "settings.native_stops": "on"}
    assert alice.post(edit, {**typed, "data_connection": own.pk}).status_code == 422
    added = {**typed, "account": "P-9", "data_connection": own.pk}
    assert alice.post(f"{ADD}paper", added).status_code == 422
    assert not ExecutionConnection.objects.filter(account="P-9").exists()
    assert refresh(world.twin).data_connection == world.prices
    alice.post(edit, {**typed, "data_connection": shared.pk})
    assert refresh(world.twin).data_connection == shared


def test_what_paper_went_by_already_stays_said_and_chosen(world: World, alice: Client) -> None:
    own = get_or_create_broker_source(world.mt4, by=world.alice)
    ExecutionConnection.objects.filter(pk=world.twin.pk).update(data_connection=own)
    edit = f"/accounts/{world.twin.pk}/edit/"
    assert f'<option value="{own.pk}" selected>' in page(alice, edit)
    typed = {"name": "Renamed", "preset": world.preset.pk, "data_connection": own.pk,
             "settings.native_stops": "on"}  # fmt: skip
    alice.post(edit, typed)
    assert refresh(world.twin).name == "Renamed"


def told(world: World, **fields: Any) -> SourceHealth:
    source = use_own_prices(world.mt4.pk, by=world.alice)
    return SourceHealth.objects.create(source=source, **fields)


@pytest.mark.parametrize(
    ("fields", "words"),
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
def test_the_page_says_how_it_fares(
    world: World, alice: Client, fields: dict[str, Any], words: list[str]
) -> None:
    told(world, **{"last_contact_at": datetime.now(UTC), **fields})
    said = account_page(alice, world.mt4)
    for one in words:
        assert one in said


def test_no_page_says_that_the_next_signal_is_taken_without_prices(
    world: World, alice: Client, workers: None
) -> None:
    source = use_own_prices(world.ibkr.pk, by=world.alice)
    health = SourceHealth.objects.create(
        source=source, last_contact_at=datetime.now(UTC), pairs=["EUR/USD"]
    )
    told_well = "Ready to trade the next signal."
    assert told_well in account_page(alice, world.ibkr)
    health.last_contact_at, health.error_code = None, Code.NO_MARKET_DATA
    health.save()
    said = account_page(alice, world.ibkr)
    assert told_well not in said
    assert "entries are refused until it does" in said
    listed = page(alice, "/accounts/")
    assert f'<a href="/accounts/{world.ibkr.pk}/">See its prices</a>' in listed


def test_a_source_that_nobody_follows_says_what_must_run(world: World, alice: Client) -> None:
    told(world, last_contact_at=datetime.now(UTC) - timedelta(hours=2), pairs=["EUR/USD"])
    said = account_page(alice, world.mt4)
    assert "No prices for 2 h" in said
    assert "worker" in said.split('id="prices"')[1].split("</section>")[0].lower()


@pytest.fixture
def shared(world: World) -> DataConnection:
    """An administrator's account tells all, and fails. Before `as_web`."""
    source = get_or_create_broker_source(make.connection(type="mt4", admin=world.olga))
    share_with_all(source, by=world.olga)
    SourceHealth.objects.create(
        source=source, error_code=Code.CONNECTION_ERROR, error="Login 4711 is wrong."
    )
    ExecutionConnection.objects.filter(pk=world.twin.pk).update(data_connection=source)
    return source


def test_of_the_operators_source_tenants_read_no_word_of_its_broker(
    world: World, alice: Client, shared: DataConnection, as_web: None
) -> None:
    said = account_page(alice, world.twin)
    assert "No prices" in said
    assert shared.name in said
    assert "4711" not in said


@pytest.fixture(params=[[], ["XAU/USD"]], ids=["all", "in part"])
def missing(shared: DataConnection, request: pytest.FixtureRequest) -> list[str]:
    """It tells now, all or in part. Before `as_web`."""
    state = SourceHealth.objects.get(source=shared)
    state.last_contact_at, state.error_code, state.error = datetime.now(UTC), "", ""
    state.pairs, state.missing = ["EUR/USD", "XAU/USD"], request.param
    state.save()
    return state.missing


def test_of_the_operators_source_tenants_do_not_read_what_others_trade(
    world: World, alice: Client, missing: list[str], as_web: None
) -> None:
    said = account_page(alice, world.twin).split('id="prices"')[1].split("</section>")[0]
    assert "No prices" not in said
    assert ("It has no usable price of some pairs." in said) == bool(missing)
    assert ("Partial" if missing else "Delivering") in said
    assert "/USD" not in said
