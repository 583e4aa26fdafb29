"""Price sources in the console: their broker, their errors, and sharing one with all users."""

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
from connections.services import SourceReport, record_source_status, use_own_prices
from tests.connections import make
from tests.console import seed
from tests.html import html_of
from tests.roles import staff
from users.models import User

LISTED = reverse("admin:connections_dataconnection_changelist")
Page = Callable[..., str]


@pytest.fixture
def operator(db: None, client: Client) -> User:
    user = seed.operator()
    client.force_login(user)
    return user


def page_address(account: ExecutionConnection, name: str) -> str:
    return reverse(f"admin:connections_executionconnection_{name}", args=[account.pk])


def test_operators_account_is_shared_as_a_source_for_all(
    operator: User, page: Page, client: Client
) -> None:
    account = make.connection(type="mt4", admin=operator, name="House")
    assert "Share its prices with all" in page(page_address(account, "page"))
    client.post(page_address(account, "offer_prices"), {"to": "all"})
    source = DataConnection.objects.get(broker_connection=account)
    assert (source.user, source.is_active) == (None, True)
    assert "Shared with all" in page(page_address(account, "page"))
    client.post(page_address(account, "offer_prices"), {"to": "itself"})
    source.refresh_from_db()
    assert source.user == operator


def test_inactive_source_stays_inactive_when_it_is_no_longer_shared(
    operator: User, client: Client
) -> None:
    source = get_or_create_broker_source(make.connection(type="mt4", admin=operator))
    share_with_all(source, by=operator)
    DataConnection.objects.update(is_active=False)
    assert source.broker_connection is not None
    client.post(page_address(source.broker_connection, "offer_prices"), {"to": "itself"})
    source.refresh_from_db()
    assert (source.user, source.is_active) == (operator, False)


def test_tenants_account_provides_prices_for_its_owner_only(
    operator: User, page: Page, client: Client
) -> None:
    account = make.connection(type="mt4", data_connection=None)
    content = page(page_address(account, "page"))
    assert "No price source" in content
    assert "Share its prices with all" not in content
    response = client.post(page_address(account, "offer_prices"), {"to": "all"}, follow=True)
    assert "Only an administrator" in html_of(response)
    client.post(page_address(account, "own_prices"))
    account.refresh_from_db()
    assert account.data_connection is not None
    assert (account.data_connection.broker_connection, account.data_connection.user) == (
        account, account.user,
    )  # fmt: skip


def test_get_requests_change_nothing(operator: User, client: Client) -> None:
    account = make.connection(type="mt4", admin=operator)
    for name in ("offer_prices", "own_prices"):
        assert client.get(page_address(account, name)).status_code == 302
    assert not DataConnection.objects.filter(broker_connection=account).exists()


def test_support_changes_no_source(db: None, client: Client) -> None:
    support = staff(Role.SUPPORT, name="support")
    client.force_login(support)
    account = make.connection(type="mt4", admin=support)
    for name in ("offer_prices", "own_prices"):
        assert client.post(page_address(account, name)).status_code == 403
    assert not DataConnection.objects.filter(broker_connection=account).exists()


def test_price_sources_have_one_name_on_all_pages(operator: User, page: Page) -> None:
    source = DataConnection.objects.create(name="Recorded")
    opened = reverse("admin:connections_dataconnection_change", args=[source.pk])
    for address in (LISTED, reverse("admin:connections_dataconnection_add"), opened):
        content = page(address)
        assert "Price sources" in content
        assert "data connection" not in content.lower()


def test_list_names_the_broker_and_the_error_of_each_source(operator: User, page: Page) -> None:
    account = make.connection(type="mt4", name="House")
    source = get_or_create_broker_source(account)
    DataConnection.objects.create(name="Recorded")
    SourceHealth.objects.create(
        source=source, last_contact_at=None, error_code=Code.NO_MARKET_DATA,
        error="Only delayed ones.", pairs=["EUR/USD"], followed_by="sessions-1",
    )  # fmt: skip
    content = html.unescape(page(LISTED))
    assert f'<a href="{page_address(account, "page")}">House</a>' in content
    for text in ("No prices", "Only delayed ones.", Code.NO_MARKET_DATA.hint, "Recorded",
                  "all users", "No price has come in yet."):  # fmt: skip
        assert text in content
    detail = page(reverse("admin:connections_dataconnection_change", args=[source.pk]))
    for text in ("EUR/USD", "sessions-1", "No prices"):
        assert text in detail


def test_paper_account_is_offered_shared_sources_only(
    operator: User, page: Page, client: Client
) -> None:
    own = get_or_create_broker_source(make.connection(type="mt4", admin=operator, name="Private"))
    house = make.connection(type="mt4", admin=operator, name="House")
    shared = get_or_create_broker_source(house)
    share_with_all(shared, by=operator)
    twin = make.connection(admin=operator, name="Twin")
    add = reverse("admin:connections_executionconnection_add")
    for address in (f"{add}?type=paper", page_address(twin, "edit")):
        content = page(address)
        assert own.name not in content
        assert shared.name in content
    assert own.name in page(f"{add}?type=mt4")
    typed = {"name": "Twin", "is_active": "on", "settings.native_stops": "on"}
    client.post(page_address(twin, "edit"), {**typed, "data_connection": own.pk})
    twin.refresh_from_db()
    assert twin.data_connection not in (own, None)
    client.post(page_address(twin, "edit"), {**typed, "data_connection": shared.pk})
    twin.refresh_from_db()
    assert twin.data_connection == shared
    response = client.post(page_address(house, "offer_prices"), {"to": "itself"}, follow=True)
    assert "Give another source first to: Twin." in html_of(response)
    shared.refresh_from_db()
    assert shared.user is None


def test_account_without_prices_is_not_ready_to_trade(operator: User, page: Page) -> None:
    account = make.connection(type="crypto", exchange_name="binance")
    source = use_own_prices(account.pk, by=operator)
    now = datetime.now(UTC)
    health = SourceHealth.objects.create(source=source, last_contact_at=now, pairs=["BTC/USDT"])
    assert "Ready to trade the next signal." in page(page_address(account, "page"))
    SourceHealth.objects.filter(pk=health.pk).update(last_contact_at=now - timedelta(hours=1))
    content = page(page_address(account, "page"))
    assert "Ready to trade" not in content
    assert "entries are refused until it does" in content


def test_unused_source_is_not_called_stale(operator: User, page: Page) -> None:
    account = make.connection(type="mt4", data_connection=None)
    source = get_or_create_broker_source(account)
    long_ago = datetime.now(UTC) - timedelta(days=1)
    SourceHealth.objects.create(source=source, last_contact_at=long_ago, pairs=["EUR/USD"])
    content = page(LISTED)
    assert "Not used" in content
    assert "Stale" not in content
    ExecutionConnection.objects.filter(pk=account.pk).update(data_connection=source)
    assert "Stale" in page(LISTED)


def test_brokers_stream_cannot_be_added_by_hand(operator: User, page: Page, client: Client) -> None:
    add = reverse("admin:connections_dataconnection_add")
    assert 'value="broker"' not in page(add)
    client.post(add, {"name": "x", "kind": "broker", "settings": "{}", "is_active": "on"})
    assert not DataConnection.objects.filter(name="x").exists()
    client.post(add, {"name": "y", "kind": "replay", "settings": "{}", "is_active": "on"})
    assert DataConnection.objects.filter(name="y").exists()


def test_source_without_its_account_stays_off(operator: User, client: Client) -> None:
    source = DataConnection.objects.create(name="old", kind="broker", is_active=False)
    change = reverse("admin:connections_dataconnection_change", args=[source.pk])
    client.post(change, {"name": "older", "settings": "{}", "is_active": "on"})
    source.refresh_from_db()
    assert (source.name, source.is_active) == ("older", False)


def test_new_connection_uses_its_own_brokers_prices(
    operator: User, page: Page, client: Client
) -> None:
    add = reverse("admin:connections_executionconnection_add")
    content = page(add, type="crypto")
    assert '<option value="own" selected>' in content
    typed: dict[str, Any] = {
        "type": "crypto", "name": "House", "owner": operator.username, "takes_all": "on",
        "account": "77", "exchange_name": "binance", "settings.symbols": "BTC/USDT",
        "data_connection": "own", "is_active": "on",
    }  # fmt: skip
    response = client.post(f"{add}?type=crypto", typed)
    assert response.status_code == 302, html_of(response)
    account = ExecutionConnection.objects.get(account="77")
    assert account.data_connection is not None
    assert account.data_connection.broker_connection == account
    edit = page_address(account, "edit")
    assert '<option value="own" selected>' in page(edit)
    stored = ExecutionConnection.objects.filter(pk=account.pk).values_list(
        "data_connection__broker_connection"
    )
    for choice, expected in (("", None), ("own", account.pk)):
        client.post(edit, {**typed, "data_connection": choice})
        assert stored.get() == (expected,)


def test_held_quotes_are_counted_on_source_and_account(operator: User, page: Page) -> None:
    account = make.connection(type="mt4", admin=operator)
    source = get_or_create_broker_source(account)
    ExecutionConnection.objects.filter(pk=account.pk).update(data_connection=source)
    last = "EUR/USD 0.5500/0.5502 after 1.1000/1.1002, 2026-05-04 12:00:00 UTC"
    record_source_status(SourceReport(source.pk, is_alive=True, held_back=1, last_held="earlier"))
    record_source_status(SourceReport(source.pk, is_alive=True, held_back=2, last_held=last))
    record_source_status(SourceReport(source.pk, is_alive=True))
    source_page = reverse("admin:connections_dataconnection_change", args=[source.pk])
    for address in (source_page, page_address(account, "page")):
        content = page(address)
        assert "Held back" in content
        assert last in content
        assert (
            ">3 quotes far" in " ".join(content.split()).replace("> ", ">") or "3, last" in content
        )
