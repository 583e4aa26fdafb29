"""The preview over HTTP: what a publication would do, for operators and providers."""

from decimal import Decimal as D
from typing import Any

import pytest

from common.db.sql import run
from connections.models import ExecutionConnection
from execution.models import Order
from signals.feeds.services import create_feed
from signals.models import Feed, Signal
from tests.api.factories import World
from tests.execution import factories

pytestmark = pytest.mark.django_db
DRAFT = {"symbol": "EUR/USD", "direction": "BUY", "sl": "1.09", "tp": "1.12"}


@pytest.fixture
def followers(world: World) -> list[ExecutionConnection]:
    """Return accounts that follow Paula's public feed: two trade, one is paused, one too small."""
    run("UPDATE connections_subscription SET archived_at = now()")
    factories.instrument()
    feed = world.public
    return [
        factories.account(feed, type="paper", preset_fixed_quantity=D(50)),
        factories.account(feed, type="paper", preset_fixed_quantity=D(1000)),
        factories.account(feed, type="paper", is_paused=True),
        factories.account(feed, type="paper", preset_max_quantity=D(99)),
    ]


def post(world: World, name: str, path: str, body: dict[str, Any] | None = None) -> Any:
    return world.client(name).post(f"/api/v1/signals/{path}", body or {}, format="json")


def reasons(response: Any) -> list[tuple[str, str, int]]:
    return [
        (reason["outcome"], reason["code"], reason["connections"])
        for reason in response.data["reasons"]
    ]


def test_draft_is_previewed_and_not_stored(
    world: World, followers: list[ExecutionConnection]
) -> None:
    before = Signal.objects.count()
    response = post(world, "olga", "preview/", {**DRAFT, "feed": world.public.slug})
    assert response.status_code == 200, response.data
    counts = {name: response.data[name] for name in ("candidates", "sent", "waiting", "skipped",
                                                   "denied", "is_wrong_for_all")}  # fmt: skip
    assert counts == {"candidates": 4, "sent": 2, "waiting": 0, "skipped": 1, "denied": 1,
                      "is_wrong_for_all": False}  # fmt: skip
    assert reasons(response) == [
        ("skipped", "CONNECTION_PAUSED", 1), ("denied", "MAX_QUANTITY", 1),
    ]  # fmt: skip
    assert response.data["sizes"][0] == {
        "kind": "", "connections": 2, "smallest": "50", "median": "50", "largest": "1000",
    }  # fmt: skip
    assert Signal.objects.count() == before


def test_provider_gets_counts_and_no_details_of_followers(
    world: World, followers: list[ExecutionConnection]
) -> None:
    draft = post(world, "paula", "", {**DRAFT, "feed": world.public.slug})
    response = world.client("paula").get(f"/api/v1/signals/{draft.data['id']}/preview/")
    assert response.status_code == 200, response.data
    assert (response.data["candidates"], response.data["sent"]) == (4, 2)
    assert response.data["sizes"] == []
    assert reasons(response) == [("skipped", "", 1), ("denied", "", 1)]


def test_owner_of_a_private_feed_gets_all_details(world: World) -> None:
    factories.instrument()
    feed = create_feed(owner=world.alice, name="Mine", is_public=False, is_approved=True)
    factories.account(feed, type="paper", user=world.alice, admin=None)
    response = post(world, "alice", "preview/", {**DRAFT, "feed": feed.slug})
    assert (response.data["sent"], response.data["sizes"][0]["largest"]) == (1, "100")


def test_other_tenants_get_no_preview(world: World, followers: list[ExecutionConnection]) -> None:
    draft = post(world, "paula", "", {**DRAFT, "feed": world.public.slug})
    path = f"/api/v1/signals/{draft.data['id']}/preview/"
    assert world.client("bob").get(path).status_code == 404
    assert world.client("anonymous").get(path).status_code == 401
    assert post(world, "bob", "preview/", {**DRAFT, "feed": world.public.slug}).status_code == 403


def test_stop_on_the_wrong_side_is_refused(
    world: World, followers: list[ExecutionConnection]
) -> None:
    wrong = {**DRAFT, "feed": world.public.slug, "sl": "1.11"}
    before = Signal.objects.count()
    for path in ("", "?publish=true"):
        response = post(world, "paula", path, wrong)
        assert (response.status_code, response.data["code"]) == (400, "STOP_AT_ENTRY"), (
            response.data
        )
        assert "Entry 1.1, level 1.11." in str(response.data)
    assert Signal.objects.count() == before
    preview = post(world, "paula", "preview/", wrong)
    assert (preview.data["sent"], preview.data["is_wrong_for_all"]) == (0, True)
    assert [reason["code"] for reason in preview.data["reasons"] if reason["code"]] == [
        "STOP_AT_ENTRY"
    ]


def test_publication_that_would_reach_no_account_is_refused(
    world: World, followers: list[ExecutionConnection]
) -> None:
    draft = post(world, "paula", "", {**DRAFT, "feed": world.public.slug})
    run("UPDATE prices_latestquote SET bid = 1.08, ask = 1.081")
    response = post(world, "paula", f"{draft.data['id']}/publish/")
    assert (response.status_code, response.data["code"]) == (409, "STOP_AT_ENTRY"), response.data
    run("UPDATE prices_latestquote SET bid = 1.10, ask = 1.1001")
    assert post(world, "paula", f"{draft.data['id']}/publish/").status_code == 200
    assert Order.objects.filter(signal_id=draft.data["id"]).count() == 4
    assert post(world, "paula", f"{draft.data['id']}/publish/").status_code == 200
    preview = world.client("paula").get(f"/api/v1/signals/{draft.data['id']}/preview/")
    assert (preview.status_code, preview.data["code"]) == (409, "STATE_CONFLICT")


def test_feed_of_another_tenant_is_not_previewed(world: World) -> None:
    assert Feed.objects.filter(slug=world.feed.slug).exists()
    response = post(world, "bob", "preview/", {**DRAFT, "feed": world.feed.slug})
    assert response.status_code == 404


def test_what_few_others_would_send_is_not_shown_to_the_provider(world: World) -> None:
    run("UPDATE connections_subscription SET archived_at = now()")
    factories.instrument()
    feed = world.public

    def shown() -> Any:
        answer = post(world, "paula", "preview/", {**DRAFT, "feed": feed.slug})
        return answer.data["sent_followers"], answer.data["quantity"]

    own = factories.account(feed, type="paper")
    ExecutionConnection.objects.filter(pk=own.pk).update(user=world.paula)
    assert shown() == (1, "100")
    for _ in range(4):
        factories.account(feed, type="paper")
    assert shown() == (5, None)
    factories.account(feed, type="paper")
    assert shown() == (6, "600")
