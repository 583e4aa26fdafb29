"""Tenants cancel entries and close positions of an account, a feed or all their accounts."""

import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from execution.models import Order, ScopedAction
from positions.models import ExecutionPosition
from tests.connections import make
from tests.execution import factories
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from tests.portal.test_actions import refresh

pytestmark = pytest.mark.django_db
Committed = Callable[..., Any]
ALL = "/positions/cancel-or-close/"


@pytest.fixture
def alice(world: World, signed_in: SignedIn, as_web: None) -> Client:
    return signed_in(world.alice)


def shown(client: Client, address: str, action: str = "CANCEL") -> dict[str, str]:
    """Open the page; return its form as a browser sends it."""
    html = html_of(client.get(address, {"action": action}))
    found = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', html))
    return {"action": action, **found}


def own(world: World) -> Any:
    return ScopedAction.objects.exclude(pk__in=(world.scoped.pk, world.bobs_scoped.pk)).order_by(
        "-pk"
    )


@pytest.mark.parametrize("action", ["CANCEL", "CLOSE", "BOTH"])
def test_page_names_the_impact_and_changes_nothing(
    world: World, alice: Client, action: str
) -> None:
    html = html_of(alice.get(ALL, {"action": action}))
    assert "Cancel or close what is live on all your accounts" in html
    assert ("Entries at brokers: 1 (" in html) is (action != "CLOSE")
    assert "Open positions: 3 (" in html
    assert {"CANCEL": "Cancel them", "CLOSE": "Close them", "BOTH": "Cancel and close them"}[
        action
    ] in html
    assert not own(world).exists()
    assert not Order.objects.exclude(pending_action="").exists()


def test_entries_of_one_account_are_cancelled_after_a_confirmation(
    world: World, alice: Client, enqueued: list[Any], django_capture_on_commit_callbacks: Committed
) -> None:
    address = f"/accounts/{world.ibkr.pk}/cancel-or-close/"
    assert f'href="{address}"' in html_of(alice.get(f"/accounts/{world.ibkr.pk}/"))
    form = shown(alice, address)
    with django_capture_on_commit_callbacks(execute=True):
        response = alice.post(address, form)
    action = own(world).get()
    assert response["Location"] == reverse("portal:scoped_action", args=[action.pk])
    assert enqueued == ["pending actions"]
    assert action.cancelled == [world.working.pk]
    html = html_of(alice.get(response["Location"]))
    for text in ("Entries cancelled:", "Being cancelled", world.ibkr.name,
                 f"/signals/{world.euro.pk}/?order={world.working.pk}#timeline"):  # fmt: skip
        assert text in html
    assert refresh(world.working).pending_action == "CANCEL"
    assert refresh(world.gold_position).reserved == 0


def test_everything_is_closed_once_although_clicked_twice(
    world: World, alice: Client, enqueued: list[Any], django_capture_on_commit_callbacks: Committed
) -> None:
    form = shown(alice, ALL, "BOTH")
    with django_capture_on_commit_callbacks(execute=True):
        first, second = alice.post(ALL, form), alice.post(ALL, form)
    assert first["Location"] == second["Location"]
    assert own(world).count() == 1
    exits = Order.objects.exits().filter(done_at=None)
    assert exits.count() == 3
    assert {exit_.connection.owner_name for exit_ in exits} == {"alice"}
    assert refresh(world.working).pending_action == "CLOSE"
    assert refresh(world.bobs_position).reserved == 0


def test_feed_is_ended_on_own_accounts_only(world: World, alice: Client) -> None:
    address = f"/feeds/{world.breakout.slug}/cancel-or-close/"
    assert f'href="{address}"' in html_of(alice.get("/feeds/"))
    alice.post(address, shown(alice, address, "CLOSE"))
    assert Order.objects.exits().exists()
    assert set(Order.objects.exits().values_list("connection__user", flat=True)) == {world.alice.pk}
    assert own(world).get().scope_name == f"feed {world.breakout.name}"


def test_feed_without_own_trades_has_nothing_to_do(world: World, alice: Client) -> None:
    """Bob has a position of it."""
    html = html_of(alice.get(f"/feeds/{world.carry.slug}/cancel-or-close/?action=BOTH"))
    assert "There is nothing to do: no entry and no position is open there now." in html
    assert "Cancel and close them" not in html


def test_other_action_than_the_shown_one_is_asked_first(world: World, alice: Client) -> None:
    form = shown(alice, ALL, "CANCEL")
    html = html_of(alice.post(ALL, {**form, "action": "BOTH"}, follow=True))
    assert "Cancel and close them" in html
    assert not own(world).exists()
    assert alice.post(ALL, {**form, "action": "EXPLODE"}).status_code == 422
    answer = alice.post(ALL, {"action": "CLOSE", "request_id": str(uuid4())}, follow=True)
    html = html_of(answer)
    assert "Close them" in html
    assert not own(world).exists()


def test_what_opened_after_the_question_is_closed_and_named(world: World, alice: Client) -> None:
    form = shown(alice, ALL, "CLOSE")
    html = html_of(alice.post(ALL, {**form, "shown_positions": "1"}, follow=True))
    assert "2 more positions were opened and are closed too." in " ".join(html.split())


@pytest.fixture
def small_maximum(world: World) -> None:
    """Let the broker of the largest position take less in one order than is open."""
    largest = ExecutionPosition.objects.order_by("quantity").last()
    assert largest is not None
    factories.instrument(
        book=largest.connection.instrument_book, quantity_max=largest.quantity - 10
    )


def test_position_that_several_exits_close_counts_once(
    world: World, small_maximum: None, alice: Client
) -> None:
    form = shown(alice, ALL, "CLOSE")
    html = html_of(alice.post(ALL, form, follow=True))
    exits = own(world).get().exits
    positions = Order.objects.filter(pk__in=exits).values("position").distinct().count()
    assert positions < len(exits)
    assert f"{positions} positions being closed." in html
    assert "opened and" not in html


def test_private_feed_and_result_of_another_tenant_are_not_found(
    world: World, signed_in: SignedIn
) -> None:
    private = make.feed(world.bob, is_public=False, approved_by_owner=True)
    client = signed_in(world.alice)
    before = Order.objects.count()
    for address in (
        f"/feeds/{private.slug}/cancel-or-close/",
        "/feeds/no-such-feed/cancel-or-close/",
        f"/accounts/{world.bobs.pk}/cancel-or-close/",
        f"/cancelled-and-closed/{world.bobs_scoped.pk}/",
    ):
        assert client.get(address).status_code == 404
        assert client.post(address, {"action": "BOTH"}).status_code == 404
    assert Order.objects.count() == before


def test_request_of_another_tenant_is_not_repeated(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    form = shown(signed_in(world.bob), ALL, "CLOSE")
    signed_in(world.bob).post(ALL, form)
    signed_in(world.alice).post(ALL, form)  # with Bob's request id
    done = {action.user.get_username(): action for action in own(world)} if own(world) else {}
    assert "alice" in done
    assert len(done["alice"].exits) == 3
