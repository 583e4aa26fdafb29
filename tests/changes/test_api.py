"""Each operation of the API that changes a row, at once with another change of the same row.

The table is compared with the OpenAPI schema: an operation that is in no list fails a test.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from django.db.models import Model
from django.test import Client
from django.utils import timezone

from signals.models import Approval, Feed, Signal
from tests.api import factories
from tests.api.conftest import fresh_counters, private_key  # noqa: F401  # used by all tests here
from tests.api.factories import World
from tests.api.schemas import whole_schema
from tests.changes.concurrent_forms import at_once
from tests.sampling import often
from users.models import ApiKey

pytestmark = pytest.mark.usefixtures("inline_commits")


@dataclass(frozen=True)
class Call:
    """One request to `path`, in which {} is the row's address."""

    method: str
    path: str
    body: dict[str, Any] | None = None
    who: str = "alice"

    def send(self, world: World, address: object) -> int:
        client = world.client(self.who)
        path = "/api/v1/" + self.path.format(address)
        return int(getattr(client, self.method)(path, self.body or {}, format="json").status_code)


@dataclass(frozen=True)
class Pair:
    """Two calls that change the row `of` the world; afterwards it has all of `then`."""

    operations: tuple[str, ...]
    of: str
    calls: tuple[Call, ...]
    then: dict[str, Any]
    address: Callable[[World], object] | None = None


def patch(path: str, *bodies: dict[str, Any], **more: Any) -> tuple[Call, ...]:
    return tuple(Call("patch", path, body, **more) for body in bodies)


FEED, CONNECTION = "PATCH /api/v1/feeds/{slug}/", "PATCH /api/v1/connections/{id}/"
SUBSCRIPTION = "PATCH /api/v1/subscriptions/{id}/"


def slug(world: World) -> str:
    return world.feed.slug


PAIRS: dict[str, Pair] = {
    "feed": Pair(
        (FEED,), "feed", patch("feeds/{}/", {"name": "one"}, {"description": "two"}),
        {"name": "one", "description": "two"}, slug,
    ),
    "feed, limited and renamed": Pair(
        (FEED,), "feed",
        patch("feeds/{}/", {"max_signal_notional": "5", "max_signal_currency": "usd"},
              {"name": "one"}),
        {"name": "one", "max_signal_notional": 5, "max_signal_currency": "USD"}, slug,
    ),
    "feed, public three times": Pair(
        (FEED,), "feed", patch("feeds/{}/", *[{"is_public": True}] * 3),
        {"is_public": True, "is_approved": False, "approved_by_owner": False}, slug,
    ),
    "feed, public and renamed": Pair(
        (FEED,), "feed", patch("feeds/{}/", {"is_public": True}, {"name": "one"}),
        {"is_public": True, "is_approved": False, "name": "one"}, slug,
    ),
    "feed, withdrawn and renamed": Pair(
        (FEED,), "feed",
        (Call("patch", "feeds/{}/", {"is_approved": False}, who="olga"),
         *patch("feeds/{}/", {"name": "one"}, {"description": "two"})),
        {"is_approved": False, "name": "one", "description": "two"}, slug,
    ),
    "feed, archived and renamed": Pair(
        (FEED, "POST /api/v1/feeds/{slug}/archive/"), "feed",
        (Call("post", "feeds/{}/archive/"), *patch("feeds/{}/", {"name": "one"})),
        {"name": "one", "archived_at__isnull": False}, slug,
    ),
    "connection": Pair(
        (CONNECTION,), "connection",
        patch("connections/{}/", {"name": "one"}, {"auto_correct": True}),
        {"name": "one", "auto_correct": True},
    ),
    "connection, switched off and renamed": Pair(
        (CONNECTION,), "connection",
        patch("connections/{}/", {"is_active": False}, {"name": "one"}),
        {"name": "one", "is_active": False},
    ),
    "connection, paused and renamed": Pair(
        (CONNECTION, "POST /api/v1/connections/{id}/pause/"), "connection",
        (Call("post", "connections/{}/pause/"), *patch("connections/{}/", {"name": "one"})),
        {"name": "one", "is_paused": True},
    ),
    "connection, credentials and renamed": Pair(
        (CONNECTION, "PUT /api/v1/connections/{id}/credentials/"), "connection",
        (Call("put", "connections/{}/credentials/", {"credentials": {"password": "x"}}),
         *patch("connections/{}/", {"name": "one"})),
        {"name": "one", "sealed_credentials__isnull": False},
    ),
    "price source": Pair(
        ("PATCH /api/v1/data-connections/{id}/",), "prices",
        patch("data-connections/{}/", {"is_active": False}, {}), {"is_active": False},
    ),
    "yourself": Pair(
        ("PATCH /api/v1/me/",), "alice",
        patch("me/", {"time_zone": "Europe/Berlin"}, {}), {"time_zone": "Europe/Berlin"},
    ),
    "preset": Pair(
        ("PATCH /api/v1/presets/{id}/",), "preset",
        patch("presets/{}/", {"name": "two"}, {"max_open_positions": 3}),
        {"name": "two", "max_open_positions": 3},
    ),
    "preset, two limits": Pair(
        ("PATCH /api/v1/presets/{id}/",), "preset",
        patch("presets/{}/", {"max_leverage": "2"}, {"max_open_positions": 3}, {"name": "two"}),
        {"name": "two", "max_open_positions": 3, "max_leverage": 2},
    ),
    "subscription": Pair(
        (SUBSCRIPTION,), "subscription",
        patch("subscriptions/{}/", {"multiplier": "2"}, {"directions": "BUY", "priority": 3}),
        {"multiplier": 2, "directions": "BUY", "priority": 3},
    ),
    "subscription, two limits": Pair(
        (SUBSCRIPTION,), "subscription",
        patch("subscriptions/{}/", {"max_open_orders": 2}, {"max_daily_volume": "3"}),
        {"max_open_orders": 2, "max_daily_volume": 3},
    ),
    "subscription, paused and resized": Pair(
        (SUBSCRIPTION, "POST /api/v1/subscriptions/{id}/pause/"), "subscription",
        (Call("post", "subscriptions/{}/pause/"),
         *patch("subscriptions/{}/", {"multiplier": "2"})),
        {"multiplier": 2, "is_paused": True},
    ),
    "decision provider": Pair(
        ("PATCH /api/v1/decision-providers/{id}/",), "provider",
        patch("decision-providers/{}/", {"name": "one"}, {"on_failure": "OPEN"}),
        {"name": "one", "on_failure": "OPEN"},
    ),
    "loss limit": Pair(
        ("PATCH /api/v1/loss-limits/{id}/",), "limit",
        patch("loss-limits/{}/", {"maximum": "4"}, {"action": "PAUSE_AND_CLOSE"}),
        {"maximum": 4, "action": "PAUSE_AND_CLOSE"},
    ),
    "order's levels": Pair(
        ("PATCH /api/v1/orders/{id}/",), "position",
        patch("orders/{}/", {"stop_loss": "1.37"}, {"take_profit": "1.45"}),
        {"sl": "1.37", "tp": "1.45"}, lambda world: world.filled.pk,
    ),
    "position's levels": Pair(
        ("PATCH /api/v1/positions/{id}/",), "position",
        patch("positions/{}/", {"stop_loss": "1.37"}, {"take_profit": "1.45"}),
        {"sl": "1.37", "tp": "1.45"},
    ),
}  # fmt: skip

# What changes no settings of a row: it creates one, or takes one step by compare-and-set.
STEPS = {
    "analytics", "api-keys", "channels", "drift", "execution-logs", "notifications", "signals",
    "kill-switch", "cash-flows", "trading-pauses", "news-calendars",
}  # fmt: skip
ONE_WAY = {
    "POST /api/v1/connections/": "creates",
    "POST /api/v1/connections/paper/": "creates, once",
    "PATCH /api/v1/channels/{id}/": "under the channel's lock, only what was sent",
    "POST /api/v1/feeds/{slug}/telegram-bot/": "creates, or replaces the token",
    "PATCH /api/v1/feeds/{slug}/telegram-bot/": "only what was sent",
    "POST /api/v1/feeds/{slug}/telegram-bot/remove/": "deletes",
    "PATCH /api/v1/feeds/{slug}/telegram-bot/chats/{chat_id}/": "one decision about a chat",
    "DELETE /api/v1/connections/{id}/": "archives, once",
    "POST /api/v1/connections/{id}/resume/": "one column by compare-and-set, like pause",
    "POST /api/v1/connections/{id}/sample-order/": "creates, one at a time",
    "POST /api/v1/connections/{id}/sample-order/close/": "creates an exit, once",
    "POST /api/v1/connections/{id}/test/": "asks for a test",
    "POST /api/v1/data-connections/{id}/quotes/": "creates, under the source's lock",
    "POST /api/v1/feeds/": "creates",
    "POST /api/v1/feeds/{slug}/close-trades/": "creates signals",
    "POST /api/v1/feeds/{slug}/request-approval/": "creates",
    "POST /api/v1/feeds/{slug}/withdraw-request/": "ends the open request, once",
    "POST /api/v1/feeds/{slug}/approve/": "decides the open request, once",
    "POST /api/v1/feeds/{slug}/refuse/": "decides the open request, once",
    "POST /api/v1/feeds/{slug}/terms/": "creates a version",
    "POST /api/v1/feeds/{slug}/drafts/": "creates",
    "PATCH /api/v1/feeds/{slug}/drafts/{draft_id}/": "of the version that it names",
    "POST /api/v1/feeds/{slug}/drafts/{draft_id}/publish/": "publishes, once",
    "POST /api/v1/feeds/{slug}/drafts/{draft_id}/discard/": "deletes",
    "POST /api/v1/feeds/{slug}/alerts/read/": "shows",
    "PATCH /api/v1/feeds/{slug}/alert-mapping/": "one column, replaced as a whole",
    "POST /api/v1/feeds/{slug}/tokens/": "creates",
    "POST /api/v1/feeds/{slug}/tokens/{token_id}/rotate/": "creates, under the old one's lock",
    "POST /api/v1/feeds/{slug}/tokens/{token_id}/revoke/": "revokes, once",
    "POST /api/v1/decision-providers/": "creates",
    "DELETE /api/v1/decision-providers/{id}/": "deletes",
    "POST /api/v1/loss-limits/": "creates",
    "DELETE /api/v1/loss-limits/{id}/": "deletes",
    "POST /api/v1/orders/{id}/cancel/": "order state machine",
    "POST /api/v1/orders/{id}/retry/": "order state machine",
    "POST /api/v1/orders/cancel-all/": "order state machine",
    "POST /api/v1/positions/{id}/close/": "reserves by compare-and-set",
    "POST /api/v1/positions/{id}/break-even/": "under the position's lock",
    "PUT /api/v1/positions/{id}/trailing/": "under the position's lock",
    "DELETE /api/v1/positions/{id}/trailing/": "under the position's lock",
    "POST /api/v1/positions/close-all/": "reserves by compare-and-set",
    "POST /api/v1/presets/": "creates",
    "DELETE /api/v1/presets/{id}/": "deletes",
    "POST /api/v1/subscriptions/": "creates, or takes up again",
    "DELETE /api/v1/subscriptions/{id}/": "ends, once",
    "POST /api/v1/subscriptions/{id}/resume/": "one column by compare-and-set, like pause",
    "POST /api/v1/subscriptions/{id}/twin/": "creates, once while it runs",
    "POST /api/v1/subscriptions/{id}/stop-twin/": "ends, once",
    "POST /api/v1/preflights/": "replaces a replay, which is deleted after a day",
    "POST /api/v1/settings/": "only what was sent, upon the newest version, under its lock",
    "POST /api/v1/settings/{id}/restore/": "creates a version",
    "POST /hooks/tradingview/{feed}/{token}/": "creates an alert",
}


def test_every_changing_operation_is_listed() -> None:
    paths = whole_schema()["paths"]
    found = {
        f"{method.upper()} {path}"
        for path, methods in paths.items()
        for method in methods
        if method != "get"
    }
    walked = {name for pair in PAIRS.values() for name in pair.operations}
    steps = {
        name for name in found
        if name.split("/")[3] in STEPS and name.split()[0] not in ("PATCH", "PUT")
    }  # fmt: skip
    assert found == walked | set(ONE_WAY) | steps


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", often(PAIRS, every=3))
def test_concurrent_changes_are_not_lost(name: str) -> None:
    world, pair = factories.build(), PAIRS[name]
    ApiKey.objects.update(last_used_at=timezone.now())  # else the first call keeps the others out
    row: Model = getattr(world, pair.of)
    address = pair.address(world) if pair.address else row.pk
    acts = [partial(call.send, world, address) for call in pair.calls]
    answers = at_once(row, *acts)
    assert all(answer in (200, 204) for answer in answers), answers
    found = type(row)._default_manager.filter(pk=row.pk)
    missing = {
        name: value for name, value in pair.then.items() if not found.filter(**{name: value})
    }
    assert not missing, found.values().get()


@pytest.mark.django_db(transaction=True)
def test_race_does_not_approve_waiting_signals() -> None:
    """Signals are sent while the feed goes public, three times at once."""
    world = factories.build()
    path = f"feeds/{world.feed.slug}/"
    going = [partial(Call("patch", path, {"is_public": True}).send, world, "")] * 2
    body = {"feed": world.feed.slug, "symbol": "EUR/USD", "direction": "BUY"}
    sending = [partial(Call("post", "signals/?publish=true", body).send, world, "")] * 2
    answers = at_once(world.feed, *going, *sending)
    assert set(answers[:2]) == {200}
    assert set(answers[2:]) <= {201, 409}
    assert not Feed.objects.get(pk=world.feed.pk).is_approved
    unpublished = Signal.objects.filter(feed=world.feed, published_at=None)
    assert not unpublished.filter(approval=Approval.APPROVED).exists()


def test_request_cannot_save_whole_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By accident, in a view of later: the base class refuses it, and nothing is written."""
    world = factories.build()

    def careless(feed_id: int, *, by: Any, **changes: Any) -> Feed:
        feed = Feed.objects.get(pk=feed_id)
        feed.name = "careless"
        feed.save()
        return feed

    monkeypatch.setattr("signals.feeds.services.update_feed", careless)
    client = Client(raise_request_exception=False)
    answer = client.patch(
        f"/api/v1/feeds/{world.feed.slug}/", {"name": "careless"}, content_type="application/json",
        headers={"Authorization": f"Bearer {world.keys['alice']}"},
    )  # fmt: skip
    assert answer.status_code == 500
    assert Feed.objects.get(pk=world.feed.pk).name == "By hand"
