"""Sends the examples of the OpenAPI schema to a real API, with the names of a world's objects."""

import re
from collections.abc import Callable
from functools import cache
from typing import Any

from rest_framework.test import APIClient

from api import reference
from common.clocks import market_now
from common.db.sql import database_now
from connections.models import DataConnection, TradingPreset
from events.webhook_services import create_webhook
from signals.feeds.services import create_feed_token
from signals.models import ApprovalRequest, Feed
from tests.api.cases import CASES, Case
from tests.api.factories import (
    World,
    demo_account,
    order,
    routed_subscription,
    sample_order,
)
from tests.api.schemas import operation_ids
from tests.connections import make

SECRET = "fc_0123456789abcdef0123456789abcdef"
PUSH_KEY = reference.requests()["create_browser_channel"]["p256dh"]  # RFC 8291's own example
PUSHED_AT = "2026-11-20T12:00:00.123Z"  # in an example: now
NOT_SENT = {
    "adopt_drift_item": "get_drift_item",  # needs a broker that holds more than we do
    "relink_drift_item": "get_drift_item",  # likewise
    "confirm_channel": "get_channel",  # the code is only in an e-mail
}
"""Operations whose answer is that of another one, and why they are not sent."""
Paths = dict[str, Any]


def _webhook(world: World) -> Paths:
    return {
        "id": create_webhook(user_id=world.alice.pk, name="w", url="https://hooks.example.com/")[
            0
        ].pk
    }


def _unconfirmed(world: World) -> Paths:
    world.channel.confirmed_at = None
    world.channel.save()
    return {}


def _shared_prices(world: World) -> Paths:
    DataConnection.objects.create(name="Recorded quotes")
    return {}


def _pushed(world: World) -> Paths:
    named = {"symbols": ["EUR/USD", "GBP/USD"]}
    return {
        "id": DataConnection.objects.create(
            name="Ours", kind="push", user=world.alice, settings=named
        ).pk
    }


def _not_subscribed(world: World) -> Paths:
    world.subscription.intervals.all().delete()
    world.subscription.delete()
    make.ready(world.connection)
    return {}


def _limited(world: World) -> Paths:
    Feed.objects.update(max_signal_notional=100_000, max_signal_currency="USD")
    return {"id": world.published.pk}


def _finished_draft(world: World) -> Paths:
    world.draft.body = {"symbol": "EURUSD", "direction": "BUY"}
    world.draft.save()
    return {}


def _public(world: World) -> Paths:
    Feed.objects.filter(pk=world.feed.pk).update(is_public=True, is_approved=False)
    return {}


def _asked(world: World) -> Paths:
    _public(world)
    ApprovalRequest.objects.create(feed=world.feed, requested_by=world.alice)
    return {}


def _address(world: World) -> Paths:
    return {"feed": world.feed.slug, "token": create_feed_token(world.feed)[1]}


def _alert(world: World) -> Paths:
    names = _address(world)
    path = f"/hooks/tradingview/{names['feed']}/{names['token']}/"
    alert = {"action": "OPEN", "symbol": "EURUSD", "direction": "BUY"}
    posted = APIClient().post(path, alert, format="json")
    assert posted.status_code == 202, posted.content
    return {**names, "alert": posted.json()["alert"]}


def _live(world: World) -> Paths:
    DataConnection.objects.create(name="Recorded quotes")
    row = make.ready(make.connection(world.alice, type="mt5", account="77", preset=world.preset))
    return {"id": make.subscription(row, world.public).pk}


def _routed(world: World) -> Paths:
    taken = routed_subscription(world)
    make.signal(world.public, published_at=market_now())
    return {"id": taken.pk}


def _compared(world: World) -> Paths:
    signal = make.signal(world.public, published_at=market_now())
    twin = world.twinned.twins.get().connection
    ends = {world.twinned.connection: ("DENIED", "NO_MONEY"), twin: ("PENDING", "")}
    for connection, (status, reason) in ends.items():
        order(connection, signal, "entry", status=status, reason=reason)
    return {"id": world.twinned.pk}


PREPARED: dict[str, Callable[[World], Paths]] = {
    "rotate_channel_secret": _webhook,
    "resend_channel_code": _unconfirmed,
    "create_paper_connection": _shared_prices,
    "push_quotes": _pushed,
    "create_subscription": _not_subscribed,
    "delete_connection": lambda world: {"id": make.connection(world.alice, account="9").pk},
    "delete_preset": lambda world: {
        "id": TradingPreset.objects.create(user=world.alice, name="unused", risk_percent=1).pk
    },
    "get_signal_notional": _limited,
    "publish_feed_draft": _finished_draft,
    "request_feed_approval": _public,
    "refuse_feed": _asked,
    "start_subscription_twin": _live,
    "get_subscription_comparison": _compared,
    "get_subscription_route": _routed,
    "place_connection_sample_order": lambda world: {"id": demo_account(world).pk},
    "get_connection_sample_order": lambda world: {"id": sample_order(world).pk},
    "close_connection_sample_order": lambda world: {"id": sample_order(world).pk},
    "send_alert": _address,
    "get_alert_status": _alert,
}
"""What must be there besides the world; returns the parts of the address that it makes."""


def live(value: Any, world: World, name: str = "") -> Any:
    """Return an example with the ids of the world's objects in place of its own."""
    if isinstance(value, dict):
        return {key: live(inner, world, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [live(inner, world, name) for inner in value]
    ours: dict[str, Any] = {
        "connection": str(world.connection.pk),
        "preset": world.preset.pk,
        "position": world.position.pk,
        "ids": world.notification.pk,
    }
    if value == PUSHED_AT:
        return database_now().isoformat()
    slugs = {"by-hand": world.feed.slug, "majors": world.public.slug}
    return slugs.get(value, value) if name == "feed" else ours.get(name, value)


@cache
def cases() -> dict[str, tuple[str, Case]]:
    """Return the address and the case of each operation, by its id."""
    return {
        operation: (name, CASES[name])
        for (method, path), operation in operation_ids().items()
        if (name := f"{method.upper()} {path}") in CASES
    }


def address_of(world: World, operation: str) -> str:
    """Prepare the world for an operation; return its address."""
    name, case = cases()[operation]
    path = name.split(" ")[1]
    made = PREPARED[operation](world) if operation in PREPARED else {}
    for key, value in {**case.path(world), **made}.items():
        path = path.replace("{" + key + "}", str(value))
    return path


def send(world: World, operation: str, path: str, body: Any) -> Any:
    """Send an operation with a body as its owner, or as an operator if it is for them."""
    name, case = cases()[operation]
    method = name.split(" ")[0]
    client = world.client("olga" if case.kind == "operator" else "alice")
    if method == "GET":
        return client.get(path, case.query(world))
    return getattr(client, method.lower())(path, body, format="json")


def settled(value: Any, name: str = "") -> Any:
    """Return an answer without what differs from run to run, to be read as an example."""
    if isinstance(value, dict):
        return {key: settled(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [settled(inner, name) for inner in value[:2]]
    if not isinstance(value, str):
        return value
    if name in ("secret", "signing_key", "prefix") and value:
        return SECRET[:8] if name == "prefix" else SECRET
    if name == "public_key":
        return PUSH_KEY
    value = re.sub(r"/hooks/tradingview/([^/]+)/[^/]+/", rf"/hooks/tradingview/\1/{SECRET}/", value)
    value = re.sub(
        r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)$", "2026-11-20T12:00:00Z", value
    )
    value = re.sub(
        r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}", "0b7f2d5e-8d0a-4c52-9a5e-3f1f6f0c9d11", value
    )
    return re.sub(r"^20\d\d-\d\d-\d\d$", "2026-11-20", value)
