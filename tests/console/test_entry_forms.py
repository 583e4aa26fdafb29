"""The console's forms of an OCO pair and of a bracket: previewed, then saved, once."""

from collections.abc import Callable
from decimal import Decimal as D
from typing import Any

import pytest
from django.test import Client

from connections.models import ExecutionConnection
from execution.models import Order
from signals.models import Feed, Signal
from tests.changes.concurrent_forms import fields_of
from tests.console import seed
from tests.execution import factories
from tests.html import html_of
from users.models import User

pytestmark = pytest.mark.django_db
Page = Callable[..., str]
OCO, BRACKET = "/admin/signals/signal/oco/", "/admin/signals/signal/bracket/"
SHARED = {"feed": "swing", "symbol": "EURUSD", "risk_category": "normal"}
PAIR = {
    **SHARED,
    "first-direction": "BUY", "first-order_type": "STOP", "first-stop_price": "1.12",
    "first-sl": "1.10", "first-target_prices": "1.14, 1.16",
    "first-target_fractions": "0.5, 0.5",
    "second-direction": "SELL", "second-order_type": "STOP", "second-stop_price": "1.08",
    "second-sl": "1.10", "second-target_prices": "1.05",
}  # fmt: skip
LONE = {
    **SHARED, "entry-direction": "BUY", "entry-order_type": "MARKET", "entry-sl": "1.09",
    "entry-target_prices": "1.12",
}  # fmt: skip


@pytest.fixture
def operator(db: None, client: Client) -> User:
    user = seed.operator()
    client.force_login(user)
    return user


@pytest.fixture
def feed(operator: User) -> Feed:
    factories.instrument()
    return Feed.objects.create(slug="swing", name="Swing", owner=operator, is_approved=True)


@pytest.fixture
def accounts(feed: Feed) -> list[ExecutionConnection]:
    """Return two accounts that trade, and one that is paused."""
    sizes = [factories.account(feed, type="paper", preset_fixed_quantity=D(n)) for n in (50, 100)]
    return [*sizes, factories.account(feed, type="paper", is_paused=True)]


def send(client: Client, path: str, fields: dict[str, str]) -> tuple[int, str]:
    answer = client.post(path, fields)
    return answer.status_code, html_of(answer) if answer.status_code == 200 else answer["Location"]


def shown_then(client: Client, path: str, fields: dict[str, str]) -> dict[str, str]:
    """Return what the page with the preview would send."""
    status, html = send(client, path, fields)
    assert status == 200
    assert "Nothing is saved or sent yet." in html, html
    hidden = {name: fields_of(html)[name][0] for name in ("seen", "request_id")}
    return {**fields, **hidden}


def test_pair_is_previewed_then_saved_and_published_together(
    client: Client, accounts: list[ExecutionConnection], page: Page
) -> None:
    assert "Show what would happen" in page(OCO)
    _, html = send(client, OCO, PAIR)
    assert html.count("Fillcast holds the order until the market reaches its trigger") == 2
    assert html.count("<code>CONNECTION_PAUSED</code>") == 2
    assert "Save the pair" in html
    assert not Signal.objects.exists()
    confirmed = shown_then(client, OCO, PAIR)
    status, address = send(client, OCO, confirmed)
    first, second = Signal.objects.order_by("pk")
    assert (status, address) == (302, f"/admin/signals/signal/{first.pk}/")
    assert first.oco_group == second.oco_group is not None
    assert (first.targets, second.targets) == (
        [(D("1.14"), D("0.5")), (D("1.16"), D("0.5"))], [(D("1.05"), D(1))],
    )  # fmt: skip
    assert send(client, OCO, confirmed) == (302, address)  # a second click
    assert Signal.objects.count() == 2
    html = page(address)
    assert html.count("If it were published now") == 2
    assert f"{first.number} and {second.number} are an OCO pair" in html
    question = page(f"{address}publish/")
    assert f"{first.number}: 2 wait: Fillcast holds the order until" in question
    assert f"{second.number}: 2 wait: Fillcast holds the order until" in question
    client.post(f"{address}publish/", {})
    assert Order.objects.filter(status="PENDING").count() == 4
    assert "Both still wait on 2 accounts." in page(address)


def test_changed_pair_is_previewed_again(
    client: Client, accounts: list[ExecutionConnection]
) -> None:
    confirmed = shown_then(client, OCO, PAIR)
    status, html = send(client, OCO, {**confirmed, "second-stop_price": "1.07"})
    assert status == 200
    assert "Nothing is saved or sent yet." in html
    assert not Signal.objects.exists()


def test_errors_of_both_legs_come_at_once_beside_their_fields(
    client: Client, accounts: list[ExecutionConnection]
) -> None:
    wrong = {
        **PAIR, "symbol": "", "first-stop_price": "", "first-target_fractions": "0.5",
        "second-sl": "1.01", "second-open_price": "x", "valid_until": "yesterday",
    }  # fmt: skip
    status, html = send(client, OCO, wrong)
    assert status == 200
    for field in ("id_symbol", "id_first-stop_price", "id_first-target_fractions",
                  "id_second-sl", "id_second-open_price", "id_valid_until"):  # fmt: skip
        assert f'href="#{field}"' in html, field
        assert f'id="{field}_error"' in html, field
    assert 'href="#id_first-target_prices"' not in html  # only their fractions are wrong
    assert "Give one fraction for each target." in html
    assert 'value="1.01"' in html  # what was entered stays
    assert not Signal.objects.exists()


def test_equal_legs_and_unlisted_symbols_are_refused(
    client: Client, accounts: list[ExecutionConnection]
) -> None:
    names = ("direction", "order_type", "stop_price", "sl", "target_prices", "target_fractions")
    twice = {**PAIR, **{f"second-{name}": PAIR[f"first-{name}"] for name in names}}
    assert "they would be reached together" in send(client, OCO, twice)[1]
    unlisted = {**PAIR, "symbol": "GBP/USD"}
    assert 'href="#id_symbol"' in send(client, OCO, unlisted)[1]
    assert not Signal.objects.exists()


def test_end_makes_the_legs_good_till_date(
    client: Client, accounts: list[ExecutionConnection]
) -> None:
    confirmed = shown_then(client, OCO, {**PAIR, "valid_until": "2099-01-02T10:30"})
    assert send(client, OCO, confirmed)[0] == 302
    ends = {(one.time_in_force, f"{one.valid_until:%H:%M}") for one in Signal.objects.all()}
    assert ends == {("GTD", "10:30")}


def test_bracket_needs_stop_and_target_and_is_saved_once(
    client: Client, accounts: list[ExecutionConnection]
) -> None:
    bare = {**LONE, "entry-sl": "", "entry-target_prices": ""}
    _, html = send(client, BRACKET, bare)
    assert 'href="#id_entry-sl"' in html
    assert 'href="#id_entry-target_prices"' in html
    confirmed = shown_then(client, BRACKET, LONE)
    first, again = send(client, BRACKET, confirmed), send(client, BRACKET, confirmed)
    signal = Signal.objects.get()
    assert first == again == (302, f"/admin/signals/signal/{signal.pk}/")
    assert (signal.order_type, signal.sl, signal.targets) == (
        "MARKET", D("1.09"), [(D("1.12"), D(1))],
    )  # fmt: skip
    assert not signal.is_published


def test_archived_feed_is_not_offered(client: Client, feed: Feed, page: Page) -> None:
    Feed.objects.filter(pk=feed.pk).update(archived_at="2026-01-01T00:00Z")
    assert "Swing" not in page(OCO)
    assert 'href="#id_feed"' in send(client, OCO, PAIR)[1]


def test_list_of_signals_has_the_buttons(client: Client, operator: User) -> None:
    html: Any = html_of(client.get("/admin/signals/signal/"))
    assert OCO in html
    assert BRACKET in html
