"""The page of how the installation executes, its month to print, and its API."""

from datetime import date, datetime
from decimal import Decimal as D
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from analytics.installation.compute import compute_day
from tests.analytics import factories
from tests.analytics.test_installation_quality import filled
from users.models import User

pytestmark = pytest.mark.django_db
DAY = date(2026, 3, 6)
PAGE = "/admin/console/execution/"
API = "/api/v1/analytics/installation/"
RANGE = {"from": "2026-03-01", "to": "2026-03-31"}


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def operator() -> Client:
    return client_of(factories.user("olga", is_staff=True))


@pytest.fixture
def account() -> Any:
    """An account with two fills of +1 and +3 pips, and a fee."""
    owner = factories.user()
    made = factories.connection(owner, kind="mt5")
    factories.snapshot(made, "EUR")
    for signal, pips in zip(factories.signals(owner, 2), ("1", "3"), strict=True):
        filled(made, signal, pips=pips, commission=D("0.75"))
    compute_day(DAY)
    return made


def test_page_shows_the_figures_of_the_range(operator: Client, account: Any) -> None:
    shown = operator.get(PAGE, {**RANGE, "unit": "pips"})
    text = shown.content.decode()
    assert shown.status_code == 200
    for expected in ("100.0 %", "2 filled of 2 sent", "+2.00", "1.50 <small>EUR", "12:00"):
        assert expected in text
    assert f'href="/admin/connections/executionconnection/{account.pk}/' in text


def test_page_states_what_is_missing(operator: Client, account: Any) -> None:
    paper = operator.get(PAGE, {**RANGE, "money": "paper"}).content.decode()
    assert "with paper money in these days" in paper
    exits = operator.get(PAGE, {**RANGE, "of": "exits"}).content.decode()
    assert "with real money in these days" in exits
    before = operator.get(PAGE, {"from": "2025-01-01", "to": "2025-01-31"}).content.decode()
    assert "Not computed yet" in before


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ({"from": "2026-02-31"}, "“2026-02-31” is no day"),
        ({"to": "tomorrow"}, "“tomorrow” is no day"),
        ({"from": "2026-03-02", "to": "2026-03-01"}, "swap them"),
        ({"from": "2020-01-01", "to": "2026-03-01"}, "At most 366 days"),
    ],
)
def test_impossible_range_is_explained(
    operator: Client, query: dict[str, str], problem: str
) -> None:
    shown = operator.get(PAGE, query)
    assert (shown.status_code, problem in shown.content.decode()) == (200, True)


def test_month_is_laid_out_for_paper(operator: Client, account: Any) -> None:
    shown = operator.get(f"{PAGE}2026/3/").content.decode()
    assert "Execution quality, March 2026" in shown
    assert f'href="{PAGE}2026/2/' in shown
    assert operator.get(f"{PAGE}2026/13/").status_code == 404


def test_api_has_the_statistics_and_the_parts(operator: Client, account: Any) -> None:
    found = operator.get(API, RANGE).json()
    assert found["statistics"] == {
        "total_orders": 2, "sent_orders": 2, "filled_orders": 2, "cancelled_orders": 0,
        "rejected_orders": 0, "fill_rate": "1", "avg_slippage_pips": "2",
        "slippage_deviation_pips": "1.414213562373095049", "max_slippage_pips": "3",
        "total_commission": {"EUR": "1.5"},
    }  # fmt: skip
    assert [part["part"] for part in found["parts"]] == [
        "broker", "symbol", "hour", "type", "account", "place",
    ]  # fmt: skip
    assert found["entries"]["slippage_pips"]["largest"] == "3"
    assert found["exits"] is None
    assert datetime.fromisoformat(found["until"]).tzinfo is not None
    few = operator.get(API, {**RANGE, "fields": "statistics"}).json()
    assert set(few) == {"statistics"}


@pytest.mark.parametrize("name", ["from", "money", "of"])
def test_api_refuses_what_is_no_choice(operator: Client, name: str) -> None:
    refused = operator.get(API, {name: "neither"})
    assert refused.status_code == 400


def test_tenant_reads_no_figures_of_the_installation(account: Any) -> None:
    tenant = client_of(account.user)
    refused = tenant.get(API, RANGE)
    assert (refused.status_code, refused.json()["code"]) == (403, "RIGHT_MISSING")
    assert tenant.get(PAGE).status_code in (302, 403)


def test_addresses_are_those_of_the_navigation(operator: Client) -> None:
    assert reverse("admin:console_execution") == PAGE
    assert operator.get(PAGE).status_code == 200
