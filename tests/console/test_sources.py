"""Price sources on the console: who tells them, what is wrong, and an account that tells all."""

import html
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from common.permissions import Role
from common.reason_codes import Code
from connections.market_data.sources import get_or_create_broker_source, share_with_all
from connections.models import DataConnection, ExecutionConnection, SourceHealth
from connections.services import use_own_prices
from tests.connections import make
from tests.console import seed
from tests.html import html_of
from tests.roles import staff
from users.models import User

LISTED = reverse("admin:connections_dataconnection_changelist")
Page = Callable[..., str]


@pytest.fixture
def operator(db: None, client: Client) -> User:
    who = seed.operator()
    client.force_login(who)
    return who


def its(account: ExecutionConnection, what: str) -> str:
    return reverse(f"admin:connections_executionconnection_{what}", args=[account.pk])


def test_an_administrators_account_is_made_a_source_for_all(
    operator: User, page: Page, client: Client
) -> None:
    account = make.connection(type="mt4", admin=operator, name="House")
    assert "Share its prices with all" in page(its(account, "page"))
    client.post(its(account, "offer_prices"), {"to": "all"})
    source = DataConnection.objects.get(broker_connection=account)
    assert (source.user, source.is_active) == (None, True)
    assert "Shared with all" in page(its(account, "page"))
    client.post(its(account, "offer_prices"), {"to": "itself"})
    source.refresh_from_db()
    assert source.user == operator


def test_what_is_switched_off_stays_so_when_its_offer_is_taken_back(
    operator: User, client: Client
) -> None:
    source = get_or_create_broker_source(make.connection(type="mt4", admin=operator))
    share_with_all(source, by=operator)
    DataConnection.objects.update(is_active=False)
    assert source.broker_connection is not None
    client.post(its(source.broker_connection, "offer_prices"), {"to": "itself"})
    source.refresh_from_db()
    assert (source.user, source.is_active) == (operator, False)


def test_a_tenants_account_tells_its_owner_alone(
    operator: User, page: Page, client: Client
) -> None:
    account = make.connection(type="mt4", data_connection=None)
    said = page(its(account, "page"))
    assert "No price source" in said
    assert "Share its prices with all" not in said
    told = client.post(its(account, "offer_prices"), {"to": "all"}, follow=True)
    assert "Only an administrator" in html_of(told)
    client.post(its(account, "own_prices"))
    account.refresh_from_db()
    assert account.data_connection is not None
    assert (account.data_connection.broker_connection, account.data_connection.user) == (
        account, account.user,
    )  # fmt: skip


def test_only_a_post_does_anything(operator: User, client: Client) -> None:
    account = make.connection(type="mt4", admin=operator)
    for what in ("offer_prices", "own_prices"):
        assert client.get(its(account, what)).status_code == 302
    assert not DataConnection.objects.filter(broker_connection=account).exists()


def test_who_may_only_look_changes_nothing(db: None, client: Client) -> None:
    looker = staff(Role.SUPPORT, name="looker")
    client.force_login(looker)
    account = make.connection(type="mt4", admin=looker)
    for what in ("offer_prices", "own_prices"):
        assert client.post(its(account, what)).status_code == 403
    assert not DataConnection.objects.filter(broker_connection=account).exists()


def test_they_have_one_name_wherever_operators_read_of_them(operator: User, page: Page) -> None:
    source = DataConnection.objects.create(name="Recorded")
    opened = reverse("admin:connections_dataconnection_change", args=[source.pk])
    for address in (LISTED, reverse("admin:connections_dataconnection_add"), opened):
        said = page(address)
        assert "Price sources" in said
        assert "data connection" not in said.lower()


def test_the_list_says_who_tells_and_what_is_wrong(operator: User, page: Page) -> None:
    account = make.connection(type="mt4", name="House")
    source = get_or_create_broker_source(account)
    DataConnection.objects.create(name="Recorded")
    SourceHealth.objects.create(
        source=source, last_contact_at=None, error_code=Code.NO_MARKET_DATA,
        error="Only delayed ones.", pairs=["EUR/USD"], followed_by="sessions-1",
    )  # fmt: skip
    said = html.unescape(page(LISTED))
    assert f'<a href="{its(account, "page")}">House</a>' in said
    for words in ("No prices", "Only delayed ones.", Code.NO_MARKET_DATA.hint, "Recorded",
                  "all users", "No price has come in yet."):  # fmt: skip
        assert words in said
    one = page(reverse("admin:connections_dataconnection_change", args=[source.pk]))
    for words in ("EUR/USD", "sessions-1", "No prices"):
        assert words in one


def test_paper_is_offered_only_what_prices_it(operator: User, page: Page, client: Client) -> None:
    own = get_or_create_broker_source(make.connection(type="mt4", admin=operator, name="Private"))
    house = make.connection(type="mt4", admin=operator, name="House")
    shared = get_or_create_broker_source(house)
    share_with_all(shared, by=operator)
    twin = make.connection(admin=operator, name="Twin")
    add = reverse("admin:connections_executionconnection_add")
    for address in (f"{add}?type=paper", its(twin, "edit")):
        said = page(address)
        assert own.name not in said
        assert shared.name in said
    assert own.name in page(f"{add}?type=mt4")
    typed = {"name": "Twin", "is_active": "on", "settings.native_stops": "on"}
    client.post(its(twin, "edit"), {**typed, "data_connection": own.pk})
    twin.refresh_from_db()
    assert twin.data_connection not in (own, None)
    client.post(its(twin, "edit"), {**typed, "data_connection": shared.pk})
    twin.refresh_from_db()
    assert twin.data_connection == shared
    told = client.post(its(house, "offer_prices"), {"to": "itself"}, follow=True)
    assert "Give another source first to: Twin." in html_of(told)
    shared.refresh_from_db()
    assert shared.user is None


def test_the_page_does_not_take_the_next_signal_without_prices(operator: User, page: Page) -> None:
    account = make.connection(type="crypto", exchange_name="binance")
    source = use_own_prices(account.pk, by=operator)
    now = datetime.now(UTC)
    health = SourceHealth.objects.create(source=source, last_contact_at=now, pairs=["BTC/USDT"])
    assert "Ready to trade the next signal." in page(its(account, "page"))
    SourceHealth.objects.filter(pk=health.pk).update(last_contact_at=now - timedelta(hours=1))
    said = page(its(account, "page"))
    assert "Ready to trade" not in said
    assert "entries are refused until it does" in said


def test_one_that_nobody_goes_by_is_not_called_silent(operator: User, page: Page) -> None:
    account = make.connection(type="mt4", data_connection=None)
    source = get_or_create_broker_source(account)
    long_ago = datetime.now(UTC) - timedelta(days=1)
    SourceHealth.objects.create(source=source, last_contact_at=long_ago, pairs=["EUR/USD"])
    said = page(LISTED)
    assert "Not used" in said
    assert "Stale" not in said
    ExecutionConnection.objects.filter(pk=account.pk).update(data_connection=source)
    assert "Stale" in page(LISTED)


def test_a_brokers_stream_is_not_made_by_hand(operator: User, page: Page, client: Client) -> None:
    add = reverse("admin:connections_dataconnection_add")
    assert 'value="broker"' not in page(add)
    client.post(add, {"name": "x", "kind": "broker", "settings": "{}", "is_active": "on"})
    assert not DataConnection.objects.filter(name="x").exists()
    client.post(add, {"name": "y", "kind": "replay", "settings": "{}", "is_active": "on"})
    assert DataConnection.objects.filter(name="y").exists()


def test_one_from_before_that_nobody_tells_stays_off(operator: User, client: Client) -> None:
    source = DataConnection.objects.create(name="old", kind="broker", is_active=False)
    change = reverse("admin:connections_dataconnection_change", args=[source.pk])
    client.post(change, {"name": "older", "settings": "{}", "is_active": "on"})
    source.refresh_from_db()
    assert (source.name, source.is_active) == ("older", False)


def test_a_new_connection_goes_by_its_own_broker(
    operator: User, page: Page, client: Client
) -> None:
    add = reverse("admin:connections_executionconnection_add")
    said = page(add, type="crypto")
    assert '<option value="own" selected>' in said
    typed: dict[str, Any] = {
        "type": "crypto", "name": "House", "owner": operator.username, "takes_all": "on",
        "account": "77", "exchange_name": "binance", "settings.symbols": "BTC/USDT",
        "data_connection": "own", "is_active": "on",
    }  # fmt: skip
    answer = client.post(f"{add}?type=crypto", typed)
    assert answer.status_code == 302, html_of(answer)
    account = ExecutionConnection.objects.get(account="77")
    assert account.data_connection is not None
    assert account.data_connection.broker_connection == account
    edit = its(account, "edit")
    assert '<option value="own" selected>' in page(edit)
    mine = ExecutionConnection.objects.filter(pk=account.pk).values_list(
        "data_connection__broker_connection"
    )
    for chosen, teller in (("", None), ("own", account.pk)):
        client.post(edit, {**typed, "data_connection": chosen})
        assert mine.get() == (teller,)
