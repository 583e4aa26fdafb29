"""An account's settings in the portal: a field for each setting of its broker, no JSON."""

import html
import re

import pytest
from django.test import Client

from brokers.registry import BUILT_IN, form_of
from connections.market_data.sources import get_or_create_broker_source
from connections.models import ConnectionHealth, ExecutionConnection
from tests.connections import make
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from tests.portal.test_actions import refresh

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("world")]
ADD = "/accounts/add/"


@pytest.fixture
def alice(world: World, signed_in: SignedIn) -> Client:
    return signed_in(world.alice)


def page(client: Client, address: str) -> str:
    return html.unescape(html_of(client.get(address)))


def test_form_asks_for_the_broker_first_and_then_its_settings(alice: Client) -> None:
    first = page(alice, ADD)
    for broker_type in BUILT_IN:
        assert form_of(broker_type).label in first
    chosen = alice.post(ADD, {"type": "ibkr"})
    assert chosen.headers["Location"] == f"{ADD}?type=ibkr"
    fields = page(alice, f"{ADD}?type=ibkr")
    for setting in form_of("ibkr").fields:
        assert setting.label in fields
        assert f'name="settings.{setting.key}"' in fields
        assert setting.hint in fields
    assert alice.post(ADD, {"type": "unknown"}).status_code == 422


def test_each_invalid_field_shows_its_error_and_keeps_its_input(alice: Client) -> None:
    typed = {"name": "Mine", "account": "U1", "settings.host": "10.0.0.5", "settings.port": "70000",
             "settings.timezone": "Mars"}  # fmt: skip
    response = alice.post(f"{ADD}?type=ibkr", typed)
    content = html.unescape(html_of(response))
    assert response.status_code == 422
    assert "Port: Write a number from 1 up to 65535." in content
    assert "There is no time zone 'Mars'" in content
    assert 'value="70000"' in content
    typed |= {"settings.port": "4001", "settings.timezone": ""}
    response = alice.post(f"{ADD}?type=ibkr", typed)
    content = html.unescape(html_of(response))
    assert "is in a network that the operators have not allowed" in content
    assert 'id="id_settings.host_error"' in content
    assert not ExecutionConnection.objects.filter(account="U1").exists()


def test_settings_are_stored_displayed_and_can_be_changed(alice: Client) -> None:
    typed = {"name": "Mine", "account": "U1", "settings.host": "gw.example.com",
             "settings.port": "4001", "settings.symbols": "EURUSD\nES 202612",
             "settings.margin_rates": "AAPL = 0.25"}  # fmt: skip
    alice.post(f"{ADD}?type=ibkr", typed)
    row = ExecutionConnection.objects.get(account="U1")
    content = page(alice, f"/accounts/{row.pk}/")
    assert row.settings == {
        "host": "gw.example.com", "port": 4001, "symbols": ["EURUSD", "ES 202612"],
        "margin_rates": {"AAPL": 0.25},
    }  # fmt: skip
    for text in ("Interactive Brokers", "gw.example.com", "EURUSD, ES 202612", "AAPL = 0.25"):
        assert text in content
    edit = f"/accounts/{row.pk}/edit/"
    form = page(alice, edit)
    assert 'value="4001"' in form
    assert "EURUSD ES 202612" in form  # a line each
    assert "checked" not in form.split("settings.outside_rth")[1].split(">")[0]
    alice.post(edit, {**typed, "settings.port": ""})
    assert "port" not in refresh(row).settings


def test_unchanged_settings_need_no_new_test(world: World, alice: Client) -> None:
    edit = f"/accounts/{world.twin.pk}/edit/"
    typed = {"name": "Other", "preset": world.preset.pk, "data_connection": world.prices.pk,
             "settings.native_stops": "on"}  # fmt: skip
    alice.post(edit, typed)
    assert refresh(world.twin).name == "Other"
    assert ConnectionHealth.objects.get(pk=world.twin.pk).status == "ACTIVE"
    alice.post(edit, {**typed, "settings.reply_timeout": "2"})
    assert refresh(world.twin).settings == {"reply_timeout": 2}
    assert ConnectionHealth.objects.get(pk=world.twin.pk).status == "UNTESTED"


def test_settings_that_identify_an_account_are_fixed_while_something_is_open(
    world: World, alice: Client
) -> None:
    edit = f"/accounts/{world.twin.pk}/edit/"
    typed = {"name": "Twin", "preset": world.preset.pk, "data_connection": world.prices.pk,
             "settings.native_stops": "on", "settings.position_mode": "NETTING"}  # fmt: skip
    refused = alice.post(edit, typed)
    assert refused.status_code == 422
    assert "Positions cannot change while EURUSD has an order or a position" in refused.text
    assert refresh(world.twin).settings == {}


def test_crypto_account_needs_its_exchange(alice: Client) -> None:
    typed = {"name": "Mine", "account": "main", "settings.symbols": "BTC/USDT"}
    missing = alice.post(f"{ADD}?type=crypto", typed)
    assert missing.status_code == 422
    alice.post(f"{ADD}?type=crypto", {**typed, "exchange_name": "kraken"})
    assert ExecutionConnection.objects.get(account="main").exchange_name == "kraken"
    assert "exchange_name" not in page(alice, f"{ADD}?type=mt5")


def test_account_without_credentials_offers_no_credentials_page(
    world: World, alice: Client
) -> None:
    assert form_of("ibkr").secrets == ()
    ExecutionConnection.objects.update(sealed_credentials=None)
    for row, takes in ((world.ibkr, False), (world.mt5, True)):
        content = page(alice, f"/accounts/{row.pk}/")
        assert (f"/accounts/{row.pk}/credentials/" in content) is takes
        assert ("None needed" in content) is not takes


def test_account_of_a_missing_package_is_displayed_and_keeps_its_settings(
    world: World, alice: Client
) -> None:
    ExecutionConnection.objects.filter(pk=world.mt5.pk).update(type="gone", settings={"a": 1})
    assert "gone" in page(alice, f"/accounts/{world.mt5.pk}/")
    assert alice.get(f"/accounts/{world.mt5.pk}/credentials/").status_code == 200
    typed = {"name": "Renamed", "preset": world.preset.pk, "data_connection": world.prices.pk}
    alice.post(f"/accounts/{world.mt5.pk}/edit/", typed)
    assert (refresh(world.mt5).name, refresh(world.mt5).settings) == ("Renamed", {"a": 1})


def test_misspelt_exchange_is_refused_before_the_account_is_created(alice: Client) -> None:
    typed = {"name": "Mine", "account": "main", "settings.symbols": "BTC/USDT"}
    response = alice.post(f"{ADD}?type=crypto", {**typed, "exchange_name": "binanse"})
    content = html.unescape(html_of(response))
    assert response.status_code == 422
    assert "ccxt knows no exchange 'binanse'. Did you mean binance?" in content
    assert not ExecutionConnection.objects.filter(account="main").exists()


def test_invalid_fields_are_listed_by_name(alice: Client) -> None:
    content = html_of(alice.post(f"{ADD}?type=crypto", {"name": ""}))
    sentence = content[content.index("Correct ") : content.index(" and send it again")]
    names = re.sub("<[^>]*>", "", sentence)
    assert names == "Correct name, exchange, account number and symbols"


def test_account_connected_by_mistake_is_removed(world: World, alice: Client) -> None:
    """The account number identifies a connection and cannot be corrected; its owner removes it."""
    row = make.connection(world.alice, name="Typo", account="DU1234576")
    address = f"/accounts/{row.pk}/"
    assert f'href="{address}remove/"' in page(alice, address)
    assert "Remove Typo?" in page(alice, f"{address}remove/")
    response = alice.post(f"{address}remove/", follow=True)
    assert "Typo was removed." in response.text
    assert f'href="{address}"' not in response.text
    assert refresh(row).archived_at is not None


def test_account_is_not_removed_while_something_is_open(world: World, alice: Client) -> None:
    address = f"/accounts/{world.twin.pk}/remove/"
    assert "Close this before you remove the account." in page(alice, address)
    content = alice.post(address, follow=True).text
    assert "Nothing was changed. Still open in Paper twin: EURUSD (an open position)." in content
    assert "ACCOUNT_IN_USE" in content
    assert refresh(world.twin).archived_at is None


def test_removing_an_account_warns_of_accounts_that_use_its_prices(
    world: World, alice: Client
) -> None:
    source_account = make.connection(world.alice, name="Price source", type="mt4")
    question = f"/accounts/{source_account.pk}/remove/"
    source = get_or_create_broker_source(source_account)
    ExecutionConnection.objects.filter(pk=source_account.pk).update(data_connection=source)
    assert "Its prices go with it" not in page(alice, question)
    ExecutionConnection.objects.filter(pk=world.twin.pk).update(data_connection=source)
    assert f"Its prices go with it: {world.twin.name} would get no entries" in page(alice, question)
