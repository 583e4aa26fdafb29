"""Every page that creates something shows which quota it would exceed, and keeps what was typed."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from common.clocks import market_now
from connections.models import TradingPreset
from events import push_keys
from signals.models import Feed, Signal
from signals.publishing import drafts
from tests.api.test_portal_and_api import SAME
from tests.api.test_quotas import CREATES
from tests.fakes.push_service.service import BrowserSubscription
from tests.html import html_of
from tests.operational import set_quota
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from tests.portal.test_loss_limits import TYPED as LIMIT
from tests.portal.test_presets import filled

pytestmark = pytest.mark.usefixtures("private_feeds")
Typed = Callable[[World], dict[str, Any]]
OPERATIONS = {name.replace("/api/v1/", ""): kind for name, kind in CREATES.items()}
KINDS = {
    page: kind
    for page, operations in SAME.items()
    for operation, kind in OPERATIONS.items()
    if operation in operations
}
CHANGES_OF_TRADES = {"portal:publishing_close", "portal:publishing_modify"}
NOT_CREATING = {
    **dict.fromkeys(CHANGES_OF_TRADES, "no number of drafts stands in the way of a change"),
    "portal:publishing_choose": "a choice; the page behind it creates",
    "security:channel_create": "a choice; the page behind it creates",
    "security:push_renew": "the same browser's new address",
}
DRAFT = {"key": "5f2b1c1e-0000-4000-8000-000000000001", "then": "save", "symbol": "EUR/USD"}


def own(world: World) -> dict[str, Any]:
    return {"slug": world.own.slug}


def alerts(world: World) -> dict[str, Any]:
    return {"slug": world.addresses["alice"].feed.slug}


def browser(world: World) -> dict[str, Any]:
    one = BrowserSubscription("https://push.example.com/one", push_keys.offered_key())
    return {"endpoint": one.endpoint, "p256dh": one.p256dh, "auth": one.auth}


def of_subscription(world: World) -> dict[str, Any]:
    return {"pk": world.subscriptions[0].connection_id}


FORMS: dict[str, tuple[Typed, Typed]] = {
    "portal:account_add": (
        lambda world: {},
        lambda world: {
            "name": "Mine", "account": "U1", "settings.host": "gw.example.com",
            "settings.port": "4001",
        },
    ),
    "portal:account_cash_flow": (
        lambda world: {"pk": world.mt5.pk}, lambda world: {"direction": "1", "amount": "5000"}
    ),
    "portal:account_loss_limit": (
        of_subscription, lambda world: {**LIMIT, "applies_to": world.subscriptions[0].pk}
    ),
    "portal:preset_loss_limit": (
        lambda world: {"pk": world.own_preset.pk}, lambda world: dict(LIMIT)
    ),
    "portal:preset_new": (
        lambda world: {},
        lambda world: filled(
            world, TradingPreset(name="", user=world.alice, risk_percent=1), name="New"
        ),
    ),
    "portal:alert_address_new": (alerts, lambda world: {"name": "charts"}),
    "portal:alert_address_replace": (
        lambda world: {**alerts(world), "pk": world.addresses["alice"].pk},
        lambda world: {"overlap": "24"},
    ),
    "portal:subscribe": (
        lambda world: {"slug": world.carry.slug},
        lambda world: {
            "account": world.mt5.pk, "multiplier": "1", "directions": "BOTH", "priority": "2",
        },
    ),
    "portal:publishing_new": (
        lambda world: {}, lambda world: {"name": "Night desk", "description": "Two a day."}
    ),
    "portal:publishing_approval": (own, lambda world: {"text": "t"}),
    "portal:publishing_terms": (own, lambda world: {"text": "t"}),
    "portal:publishing_open": (own, lambda world: {**DRAFT, "direction": "BUY"}),
    "security:key_create": (
        lambda world: {}, lambda world: {"name": "bot", "scopes": ["read"], "life": "30"}
    ),
    **{
        f"security:channel_new {service}": (
            lambda world, service=service: {"service": service}, typed  # type: ignore[misc]
        )
        for service, typed in {
            "email": lambda world: {"name": "n", "mail_address": "alice@example.com"},
            "webhook": lambda world: {"name": "n", "url": "https://hooks.example.com/a"},
            "browser": browser,
        }.items()
    },
}  # fmt: skip


@pytest.fixture
def alice(world: World, signed_in: SignedIn, settings: Any) -> Client:
    settings.FILLCAST_PUSH_PUBLIC_KEY = push_keys.public_key_of(push_keys.new_private_key())
    Signal.objects.create(  # for the forms that change a trade
        feed=world.own, approval="APPROVED", currency_pair="EUR/USD", direction="BUY",
        order_type="LIMIT", open_price=Decimal("1.38"), published_at=market_now(),
    )  # fmt: skip
    Feed.objects.filter(pk=world.own.pk).update(is_public=True, is_approved=False)
    return signed_in(world.alice)


def test_each_page_that_creates_is_tested() -> None:
    """What it creates is derived from the operation of the API that does the same."""
    assert {name.partition(" ")[0] for name in FORMS} == set(KINDS) - set(NOT_CREATING)
    assert set(NOT_CREATING) <= set(KINDS)


@pytest.mark.parametrize("name", FORMS)
def test_what_exceeds_the_quota_is_refused(
    world: World, alice: Client, as_web: None, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    page = name.partition(" ")[0]
    path, typed = FORMS[name]
    set_quota(KINDS[page], 0)
    address = reverse(page, kwargs=path(world))
    if page == "portal:account_add":
        address += "?type=ibkr"
    answer = alice.post(address, typed(world))
    assert answer.status_code == 422, answer.headers
    assert f"The quota is 0 {KINDS[page]};" in html_of(answer)


@pytest.mark.parametrize("page", sorted(CHANGES_OF_TRADES))
def test_no_number_of_drafts_stands_in_the_way_of_a_change_of_a_trade(
    world: World, alice: Client, as_web: None, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    set_quota("drafts", 0)
    monkeypatch.setattr(drafts, "MAX_OPEN", 0)
    answer = alice.post(reverse(page, kwargs=own(world)), DRAFT)
    assert answer.status_code == 302
    assert world.own.drafts.latest("pk").action == page.partition("_")[2].upper()
