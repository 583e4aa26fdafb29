"""Every operation that creates something refuses what exceeds its owner's quota."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from common.quota_kinds import QUOTAS
from events import push_keys
from signals.models import Feed
from tests.api.calls import call
from tests.api.cases import CASES
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.api.schemas import whole_schema
from tests.fakes.push_service.service import BrowserSubscription
from tests.operational import set_quota

FEED = "POST /api/v1/feeds/{slug}/"
CREATES = {
    "POST /api/v1/api-keys/": "API keys",
    "POST /api/v1/cash-flows/": "cash flows entered within a day",
    "POST /api/v1/channels/": "channels",
    "POST /api/v1/channels/browsers/": "channels",
    "POST /api/v1/channels/webhooks/": "channels",
    "POST /api/v1/connections/": "accounts",
    "POST /api/v1/decision-providers/": "decision providers",
    "POST /api/v1/feeds/": "feeds",
    f"{FEED}drafts/": "drafts",
    f"{FEED}request-approval/": "requests for approval within a day",
    f"{FEED}terms/": "versions of terms within a day",
    f"{FEED}tokens/": "alert tokens",
    f"{FEED}tokens/{{token_id}}/rotate/": "alert tokens",
    "POST /api/v1/loss-limits/": "loss limits",
    "POST /api/v1/news-calendars/": "news calendars",
    "POST /api/v1/presets/": "presets",
    "POST /api/v1/subscriptions/": "subscriptions",
}
"""The kind that each operation creates."""
ELSEWHERE = {"invitations", "price sources"}  # tests/console/test_quotas.py
_TRADED = "what is traded: as many as the rate of the scope allows"
_OPERATORS = "for operators only, and each version is kept for the trail"
BOUNDED_OTHERWISE = {
    "POST /api/v1/connections/paper/": "PAPER_ACCOUNT_LIMIT, before that of accounts",
    f"{FEED}telegram-bot/": "one of a feed",
    "POST /api/v1/connections/{id}/sample-order/": "one at a time, of the smallest size",
    "POST /api/v1/kill-switch/": "HALT_LIMIT; one's own accounts can always be stopped",
    f"{FEED}drafts/{{draft_id}}/publish/": _TRADED,
    "POST /api/v1/settings/": _OPERATORS,
    "POST /api/v1/settings/{id}/restore/": _OPERATORS,
    "POST /api/v1/signals/": _TRADED,
    "POST /api/v1/signals/bracket/": _TRADED,
    "POST /api/v1/signals/oco/": _TRADED,
    "POST /api/v1/subscriptions/{id}/twin/": "TWIN_LIMIT, before that of accounts",
}
"""Operations that create something without a quota, each with the reason."""
NO_ROWS = {"requests for approval within a day", "versions of terms within a day"}  # in the world


def of_browser() -> dict[str, str]:
    one = BrowserSubscription("https://push.example.com/one", push_keys.offered_key())
    return {"name": "n", "endpoint": one.endpoint, "p256dh": one.p256dh, "auth": one.auth}


BODIES: dict[str, Callable[[], dict[str, str]]] = {  # where the table's is one that is refused
    "POST /api/v1/channels/": lambda: {"name": "n", "url": "mailto:alice@example.com"},
    "POST /api/v1/channels/browsers/": of_browser,
    "POST /api/v1/channels/webhooks/": lambda: {"name": "n", "url": "https://hooks.example.com/a"},
}


def test_each_operation_that_creates_is_in_one_table() -> None:
    paths = whole_schema()["paths"]
    creating = {
        f"{method.upper()} {path}"
        for path, methods in paths.items()
        for method, operation in methods.items()
        if "201" in operation["responses"]
    }
    assert creating == {*CREATES, *BOUNDED_OTHERWISE}
    assert not CREATES.keys() & BOUNDED_OTHERWISE.keys()
    assert {*CREATES.values(), *ELSEWHERE} == set(QUOTAS)


@pytest.mark.parametrize("name", CREATES)
def test_what_exceeds_the_quota_is_refused(
    world: World, as_web: AsWeb, settings: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Row-level security applies: the owner's rows are counted as the web process sees them."""
    push = push_keys.new_private_key()
    settings.FILLCAST_PUSH_PUBLIC_KEY = push_keys.public_key_of(push)
    if name == f"{FEED}request-approval/":
        Feed.objects.filter(pk=world.feed.pk).update(is_public=True, is_approved=False)
    kind, case = CREATES[name], CASES[name]
    if name in BODIES:
        case = replace(case, body=lambda world: BODIES[name]())
    set_quota(kind, 0 if kind in NO_ROWS else 1)
    with as_web():
        answer = call(world, "alice", name, case)
    body = answer.json()
    assert (answer.status_code, body["code"]) == (409, "QUOTA_REACHED"), body
    most, has = "0" if kind in NO_ROWS else "1", body["numbers"]["value"]
    assert body["numbers"] == {"name": kind, "value": has, "maximum": most}
    assert int(has) >= int(most)
    assert f"The quota is {most} {kind}; this owner has {has}, and 1 more would" in body["detail"]
