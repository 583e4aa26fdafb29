"""Cancelling and closing by scope in the console: impact, confirmation, result."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from common.permissions import Role
from execution import tasks
from execution.models import Order, ScopedAction, Status
from positions.models import ExecutionPosition
from tests.console import seed
from tests.execution.factories import without_triggers
from tests.html import html_of
from tests.roles import staff

Page = Callable[..., str]
ASK = "/admin/execution/scopedaction/ask/"


@pytest.fixture
def live(small: dict[str, Any], client: Client, monkeypatch: Any) -> dict[str, Any]:
    """Two entries that were not sent, one at its broker, one open position."""
    monkeypatch.setattr(tasks, "enqueue", lambda *_, **__: None)
    published = seed.signal(small["feed"], candidate_count=4)
    counts = {("PENDING", ""): 2, ("SUBMITTED", ""): 1, ("FILLED", ""): 1}
    orders = seed.orders(published, small["connections"], counts)
    filled = next(order for order in orders if order.status == Status.FILLED)
    seed.fills([filled])
    client.force_login(small["operator"])
    return small | {"orders": orders, "position": seed.position(filled), "signal": published}


def hidden(html: str) -> dict[str, str]:
    """The hidden fields of the page's form."""
    found = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', html))
    return {name: value for name, value in found.items() if name != "csrfmiddlewaretoken"}


def asked(client: Client, **fields: str) -> tuple[dict[str, str], str]:
    """Send the first step; return the form of the second, and its page."""
    form = {"action": "BOTH", "scope": "ALL", "name": ""} | fields
    html = html_of(client.post(ASK, form))
    return form | hidden(html), html


def test_impact_is_shown_before_anything_is_done(live: dict[str, Any], client: Client) -> None:
    form, html = asked(client, scope="FEED", name="swing")
    for text in ("Entries not sent yet: 2.", "Entries at brokers: 1", "Open positions: 1",
                 "what fills first is closed at the market", "Cancel and close them"):  # fmt: skip
        assert text in html
    assert (form["shown_entries"], form["shown_positions"]) == ("3", "1")
    assert not ScopedAction.objects.exists()
    assert Order.objects.filter(done_at=None, pending_action="").count() == 3


def test_confirmed_action_leads_to_its_result(
    live: dict[str, Any], client: Client, page: Page
) -> None:
    form, _ = asked(client, scope="CONNECTION", name=str(live["position"].connection_id))
    response = client.post(ASK, form)
    action = ScopedAction.objects.get()
    assert response["Location"] == reverse("admin:execution_scopedaction_page", args=[action.pk])
    assert (action.user, action.cancelled, len(action.exits)) == (live["operator"], [], 1)
    html = page(response["Location"])
    by = f"by {live['operator'].get_username()}."
    for text in ("Entries cancelled, positions closed:", "Being closed", by,
                 f"/admin/execution/order/{action.exits[0]}/"):  # fmt: skip
        assert text in html
    assert 'hx-trigger="every 2s"' in html
    listed = page("/admin/execution/scopedaction/")
    assert "Cancelled and closed" in listed


def test_second_click_writes_no_second_exit(live: dict[str, Any], client: Client) -> None:
    form, _ = asked(client)
    first = client.post(ASK, form)
    exits = Order.objects.exits().count()
    Order.objects.exits().update(done_at=None)
    ExecutionPosition.objects.update(reserved=0)  # as if the first exit had been rejected
    second = client.post(ASK, form)
    assert second["Location"] == first["Location"]
    assert (Order.objects.exits().count(), ScopedAction.objects.count()) == (exits, 1)


def test_result_names_what_changed_since_the_question(
    live: dict[str, Any], client: Client, page: Page
) -> None:
    form, _ = asked(client, action="CANCEL")
    assert "Cancel them" in html_of(client.post(ASK, {**form, "seen": ""}))
    filled = live["orders"][2]
    assert filled.status == Status.SUBMITTED
    with without_triggers():
        Order.objects.filter(pk=filled.pk).update(
            status="FILLED", done_at=filled.created_at, filled_quantity=filled.quantity
        )
    location = client.post(ASK, form)["Location"]
    html = page(location)
    assert "1 of the entries had ended already" in html
    assert "all have ended" in html
    assert not Order.objects.exits().exists()


def test_other_scope_than_the_shown_one_is_asked_again(
    live: dict[str, Any], client: Client
) -> None:
    form, _ = asked(client, scope="SYMBOL", name="GBP/USD")
    html = html_of(client.post(ASK, {**form, "scope": "ALL", "name": ""}))
    assert "Entries not sent yet: 2." in html
    assert not ScopedAction.objects.exists()


@pytest.mark.parametrize("action", ["BOTH", "CANCEL", "CLOSE"])
def test_empty_scope_offers_nothing_to_confirm(
    live: dict[str, Any], client: Client, action: str
) -> None:
    _, html = asked(client, action=action, scope="SYMBOL", name="GBP/USD")
    assert "There is nothing to do:" in html
    assert "Show what it touches" in html


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"scope": "FEED", "name": "none"}, "There is no such feed."),
        ({"scope": "CONNECTION", "name": "1"}, "There is no such connection."),
        ({"scope": "SYMBOL", "name": "?!"}, "is not written as a symbol."),
        ({"scope": "BROKER_TYPE", "name": "mt9"}, "is not a broker type."),
        ({"scope": "ALL", "name": "x"}, "Leave this empty for everything."),
    ],
)
def test_wrong_scope_is_explained(
    live: dict[str, Any], client: Client, fields: dict[str, str], text: str
) -> None:
    assert text in asked(client, **fields)[1]


def test_links_of_pages_name_the_scope(live: dict[str, Any], client: Client, page: Page) -> None:
    connection = live["position"].connection_id
    of_connection = f"{ASK}?scope=CONNECTION&amp;name={connection}"
    assert of_connection in page(f"/admin/connections/executionconnection/{connection}/")
    assert f"{ASK}?scope=FEED&amp;name=swing" in page("/admin/signals/feed/")
    assert ASK in page("/admin/connections/killswitch/")
    html = page(ASK, scope="FEED", name="swing")
    assert "Open positions: 1" in html
    client.post(ASK, {"action": "BOTH", "scope": "FEED", "name": "swing", **hidden(html)})
    assert ScopedAction.objects.get().scope_name == "feed Swing"


def test_support_sees_results_and_no_buttons(
    live: dict[str, Any], client: Client, page: Page
) -> None:
    client.post(ASK, asked(client)[0])
    client.force_login(staff(Role.SUPPORT, name="sam"))
    assert client.get(ASK).status_code == 403
    assert ASK not in page("/admin/connections/killswitch/")
    assert page(f"/admin/execution/scopedaction/{ScopedAction.objects.get().pk}/")


def test_address_never_acts(live: dict[str, Any], client: Client) -> None:
    form, _ = asked(client)
    assert client.get(ASK, form).status_code == 200
    assert not ScopedAction.objects.exists()
