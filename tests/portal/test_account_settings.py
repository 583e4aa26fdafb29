"""An account's settings in the portal: its broker's own fields, judged one by one, and no JSON."""

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

pytestmark = pytest.mark.django_db
ADD = "/accounts/add/"


@pytest.fixture
def alice(world: World, signed_in: SignedIn) -> Client:
    return signed_in(world.alice)


def page(client: Client, address: str) -> str:
    return html.unescape(html_of(client.get(address)))


def test_first_the_broker_then_what_it_asks_for(world: World, alice: Client) -> None:
    first = page(alice, ADD)
    for kind in BUILT_IN:
        assert form_of(kind).label in first
    chosen = alice.post(ADD, {"type": "ibkr"})
    assert chosen.headers["Location"] == f"{ADD}?type=ibkr"
    fields = page(alice, f"{ADD}?type=ibkr")
    for setting in form_of("ibkr").fields:
        assert setting.label in fields
        assert f'name="settings.{setting.key}"' in fields
        assert setting.hint in fields
    assert alice.post(ADD, {"type": "nonsense"}).status_code == 422


def test_each_wrong_field_is_told_beside_itself_and_what_was_typed_stays(
    world: World, alice: Client
) -> None:
    typed = {"name": "Mine", "account": "U1", "settings.host": "10.0.0.5", "settings.port": "70000",
             "settings.timezone": "Mars"}  # fmt: skip
    answer = alice.post(f"{ADD}?type=ibkr", typed)
    told = html.unescape(html_of(answer))
    assert answer.status_code == 422
    assert "Port: Write a number from 1 up to 65535." in told
    assert "There is no time zone 'Mars'" in told
    assert 'value="70000"' in told
    typed |= {"settings.port": "4001", "settings.timezone": ""}
    answer = alice.post(f"{ADD}?type=ibkr", typed)
    told = html.unescape(html_of(answer))
    assert "is in a network that the operators have not allowed" in told
    assert 'id="id_settings.host_error"' in told
    assert not ExecutionConnection.objects.filter(account="U1").exists()


def test_what_was_typed_is_kept_shown_and_can_be_changed(world: World, alice: Client) -> None:
    typed = {"name": "Mine", "account": "U1", "settings.host": "gw.example.com",
             "settings.port": "4001", "settings.symbols": "EURUSD\nES 202612",
             "settings.margin_rates": "AAPL = 0.25"}  # fmt: skip
    told = html.unescape(html_of(alice.post(f"{ADD}?type=ibkr", typed, follow=True)))
    row = ExecutionConnection.objects.get(account="U1")
    assert row.settings == {
        "host": "gw.example.com", "port": 4001, "symbols": ["EURUSD", "ES 202612"],
        "margin_rates": {"AAPL": 0.25},
    }  # fmt: skip
    for words in ("Interactive Brokers", "gw.example.com", "EURUSD, ES 202612", "AAPL = 0.25"):
        assert words in told
    edit = f"/accounts/{row.pk}/edit/"
    shown = page(alice, edit)
    assert 'value="4001"' in shown
    assert "EURUSD ES 202612" in shown  # a line each
    assert "checked" not in shown.split("settings.outside_rth")[1].split(">")[0]
    alice.post(edit, {**typed, "settings.port": ""})
    assert "port" not in refresh(row).settings


def test_saving_what_is_the_same_needs_no_new_test(world: World, alice: Client) -> None:
    edit = f"/accounts/{world.twin.pk}/edit/"
    typed = {"name": "Other", "preset": world.preset.pk, "data_connection": world.prices.pk,
             "settings.native_stops": "on"}  # fmt: skip
    alice.post(edit, typed)
    assert refresh(world.twin).name == "Other"
    assert ConnectionHealth.objects.get(pk=world.twin.pk).status == "ACTIVE"
    alice.post(edit, {**typed, "settings.reply_timeout": "2"})
    assert refresh(world.twin).settings == {"reply_timeout": 2}
    assert ConnectionHealth.objects.get(pk=world.twin.pk).status == "UNTESTED"


def test_what_says_where_an_account_is_stays_while_something_is_open(
    world: World, alice: Client
) -> None:
    edit = f"/accounts/{world.twin.pk}/edit/"
    typed = {"name": "Twin", "preset": world.preset.pk, "data_connection": world.prices.pk,
             "settings.native_stops": "on", "settings.position_mode": "NETTING"}  # fmt: skip
    refused = alice.post(edit, typed)
    assert refused.status_code == 422
    assert "Positions cannot change while EURUSD has an order or a position" in refused.text
    assert refresh(world.twin).settings == {}


def test_a_crypto_account_names_its_exchange(world: World, alice: Client) -> None:
    typed = {"name": "Mine", "account": "main", "settings.symbols": "BTC/USDT"}
    missing = alice.post(f"{ADD}?type=crypto", typed)
    assert missing.status_code == 422
    alice.post(f"{ADD}?type=crypto", {**typed, "exchange_name": "kraken"})
    assert ExecutionConnection.objects.get(account="main").exchange_name == "kraken"
    assert "exchange_name" not in page(alice, f"{ADD}?type=mt5")


def test_who_needs_no_credentials_is_not_asked_for_them(world: World, alice: Client) -> None:
    assert form_of("ibkr").secrets == ()
    ExecutionConnection.objects.update(sealed_credentials=None)
    for row, takes in ((world.ibkr, False), (world.mt5, True)):
        told = page(alice, f"/accounts/{row.pk}/")
        assert (f"/accounts/{row.pk}/credentials/" in told) is takes
        assert ("None needed" in told) is not takes


def test_an_account_whose_brokers_package_is_gone_is_shown_and_keeps_its_settings(
    world: World, alice: Client
) -> None:
    ExecutionConnection.objects.filter(pk=world.mt5.pk).update(type="gone", settings={"a": 1})
    assert "gone" in page(alice, f"/accounts/{world.mt5.pk}/")
    assert alice.get(f"/accounts/{world.mt5.pk}/credentials/").status_code == 200
    typed = {"name": "Renamed", "preset": world.preset.pk, "data_connection": world.prices.pk}
    alice.post(f"/accounts/{world.mt5.pk}/edit/", typed)
    assert (refresh(world.mt5).name, refresh(world.mt5).settings) == ("Renamed", {"a": 1})


def test_a_misspelt_exchange_is_told_before_the_account_is_there(
    world: World, alice: Client
) -> None:
    typed = {"name": "Mine", "account": "main", "settings.symbols": "BTC/USDT"}
    told = alice.post(f"{ADD}?type=crypto", {**typed, "exchange_name": "binanse"})
    said = html.unescape(html_of(told))
    assert told.status_code == 422
    assert "ccxt knows no exchange 'binanse'. Did you mean binance?" in said
    assert not ExecutionConnection.objects.filter(account="main").exists()


def test_the_fields_to_correct_are_named_one_by_one(world: World, alice: Client) -> None:
    said = html_of(alice.post(f"{ADD}?type=crypto", {"name": ""}))
    found = said[said.index("Correct ") : said.index(" and send it again")]
    names = re.sub("<[^>]*>", "", found)
    assert names == "Correct name, exchange, account number and symbols"


def test_what_was_connected_by_mistake_is_removed(world: World, alice: Client) -> None:
    """A number is what a connection is: it cannot be corrected, so its owner can take it away."""
    made = make.connection(world.alice, name="Typo", account="DU1234576")
    address = f"/accounts/{made.pk}/"
    assert f'href="{address}remove/"' in page(alice, address)
    assert "Remove Typo?" in page(alice, f"{address}remove/")
    told = alice.post(f"{address}remove/", follow=True)
    assert "Typo was removed." in told.text
    assert f'href="{address}"' not in told.text
    assert refresh(made).archived_at is not None


def test_an_account_is_not_removed_while_something_is_open_in_it(
    world: World, alice: Client
) -> None:
    address = f"/accounts/{world.twin.pk}/remove/"
    assert "Close this before you remove the account." in page(alice, address)
    told = alice.post(address, follow=True).text
    assert "Nothing was changed. Still open in Paper twin: EURUSD (an open position)." in told
    assert "ACCOUNT_IN_USE" in told
    assert refresh(world.twin).archived_at is None


def test_who_removes_an_account_reads_whose_prices_go_with_it(world: World, alice: Client) -> None:
    teller = make.connection(world.alice, name="Teller", type="mt4")
    question = f"/accounts/{teller.pk}/remove/"
    source = get_or_create_broker_source(teller)
    ExecutionConnection.objects.filter(pk=teller.pk).update(data_connection=source)
    assert "Its prices go with it" not in page(alice, question)
    ExecutionConnection.objects.filter(pk=world.twin.pk).update(data_connection=source)
    assert f"Its prices go with it: {world.twin.name} would get no entries" in page(alice, question)
