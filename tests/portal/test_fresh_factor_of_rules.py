"""Rules that decide about trades need a fresh second factor when they become looser."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from connections.models import DecisionProvider, TradingPreset
from signals.models import Feed
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factor_steps import STALE, client, confirm, errors_on, form_on, is_asked, rita
from tests.portal.factories import World
from tests.portal.test_second_factor import client_with_stale_factor, enrol_factor, set_factor_age
from users.models import User
from users.tenancy import for_all_tenants

__all__ = ["client", "rita"]
WEB_SERVICE = {
    "name": "mine", "kind": "HTTP", "url": "https://decides.example.com/ask", "secret": "s" * 16,
}  # fmt: skip
PROVIDERS = "/api/v1/decision-providers/"


def test_web_service_that_decides_needs_a_fresh_factor_and_rules_do_not(
    world: World, client: Client
) -> None:
    """It is sent balance and equity, and its answers scale the size of entries."""
    rules = client.post(PROVIDERS, {"name": "rules", "kind": "RULES"}, "application/json")
    assert rules.status_code == 201, rules.content
    package = {"name": "p", "kind": "PACKAGE", "entry_point": "theirs"}
    web = {name: value for name, value in WEB_SERVICE.items() if name != "secret"}
    for refused in (
        client.post(PROVIDERS, WEB_SERVICE, "application/json"),
        client.post(PROVIDERS, package, "application/json"),
        client.patch(f"{PROVIDERS}{rules.json()['id']}/", package, "application/json"),
    ):
        assert (refused.status_code, refused.json()["code"]) == (403, "SECOND_FACTOR_NEEDED")
    set_factor_age(client, world.alice, 0)
    made = client.post(PROVIDERS, WEB_SERVICE, "application/json")
    assert made.status_code == 201, made.content
    own = f"{PROVIDERS}{made.json()['id']}/"
    set_factor_age(client, world.alice, STALE)
    for changes, status in (
        ({"url": "https://elsewhere.example.com/"}, 403), ({"kind": "RULES"}, 403),
        (web, 200), ({"timeout_seconds": "1"}, 200),
    ):  # fmt: skip
        assert client.patch(own, changes, "application/json").status_code == status, changes
    assert client.get(own).json()["url"] == WEB_SERVICE["url"]


@pytest.fixture
def providers(world: World) -> tuple[DecisionProvider, DecisionProvider]:
    """Return Alice's rules and her web service. Before `as_web`."""
    rules = DecisionProvider(name="rules", user=world.alice)
    web = DecisionProvider(
        name="web", user=world.alice, kind="HTTP", url=WEB_SERVICE["url"], secret_sealed=b"box"
    )
    rules.save()
    web.save()
    return rules, web


def test_preset_needs_a_fresh_factor_to_be_decided_by_a_web_service(
    world: World, providers: tuple[DecisionProvider, ...], client: Client
) -> None:
    address = f"/api/v1/presets/{world.own_preset.pk}/"
    answers = [
        client.patch(address, {"decision_provider": chosen}, "application/json").status_code
        for chosen in (providers[0].pk, None, providers[1].pk)
    ]
    assert answers == [200, 200, 403]
    new = {"name": "n", "sizing_mode": "RISK_PERCENT", "risk_percent": "1"}
    for chosen, status in ((providers[0].pk, 201), (providers[1].pk, 403)):
        body = new | {"decision_provider": chosen}
        answer = client.post("/api/v1/presets/", body, "application/json")
        assert answer.status_code == status, answer.content
    set_factor_age(client, world.alice, 0)
    assert client.patch(
        address, {"decision_provider": providers[1].pk}, "application/json"
    ).status_code == 200  # fmt: skip
    set_factor_age(client, world.alice, STALE)
    kept = {"decision_provider": providers[1].pk, "multiplier": "2"}
    assert client.patch(address, kept, "application/json").status_code == 200


def test_preset_page_asks_for_the_factor_and_keeps_what_was_typed(
    providers: tuple[DecisionProvider, ...], client: Client
) -> None:
    page = reverse("portal:preset_new")
    typed = form_on(client, page) | {
        "name": "Decided elsewhere", "decision_provider": str(providers[1].pk)
    }  # fmt: skip
    answer = client.post(page, typed)
    assert is_asked(answer), errors_on(answer)
    with for_all_tenants():
        assert not TradingPreset.objects.filter(name=typed["name"]).exists()
    shown = html_of(confirm(client, answer))
    assert "Your second factor was needed first." in shown
    assert f'value="{typed["name"]}"' in shown
    assert f'<option value="{providers[1].pk}" selected' in shown


def test_console_asks_for_the_factor_and_keeps_what_was_typed(
    world: World, signed_in: SignedIn, rita: User, providers: tuple[DecisionProvider, ...],
    as_web: None,
) -> None:  # fmt: skip
    client = client_with_stale_factor(signed_in, rita)
    provider = reverse("admin:connections_decisionprovider_change", args=[providers[0].pk])
    assert is_asked(client.get(provider)), "before anything is typed"
    page = reverse("admin:connections_tradingpreset_change", args=[world.own_preset.pk])
    typed = form_on(client, page) | {
        "name": "Typed", "decision_provider": str(providers[1].pk)
    }  # fmt: skip
    answer = client.post(page, typed)
    assert is_asked(answer), errors_on(answer)
    shown = html_of(confirm(client, answer))
    assert "Nothing was saved yet." in shown
    assert 'value="Typed"' in shown
    with for_all_tenants():
        assert TradingPreset.objects.get(pk=world.own_preset.pk).decision_provider is None
    assert client.post(page, typed).status_code == 302
    with for_all_tenants():
        stored = TradingPreset.objects.get(pk=world.own_preset.pk)
    assert (stored.name, stored.decision_provider_id) == ("Typed", providers[1].pk)


@pytest.fixture
def guarded_feed(world: World) -> Feed:
    """Let Alice's feed take signed alerts from two networks. Before `as_web`."""
    world.own.alert_sources, world.own.alerts_signed_only = ["203.0.113.0/24", "2001:db8::1"], True
    world.own.save(update_fields=["alert_sources", "alerts_signed_only"])
    return world.own


def test_looser_rules_of_alerts_need_a_fresh_factor_and_stricter_ones_do_not(
    world: World, guarded_feed: Feed, client: Client
) -> None:
    address = f"/api/v1/feeds/{guarded_feed.slug}/"
    changes: tuple[dict[str, Any], ...] = (
        {"alerts_signed_only": False}, {"alert_sources": []}, {"alert_sources": ["tradingview"]},
        {"alert_sources": ["203.0.113.0/24", "2001:db8::/64"]},
        {"alert_sources": ["0.0.0.0/0"], "name": "Renamed"},
    )  # fmt: skip
    for looser in changes:
        answer = client.patch(address, looser, "application/json")
        assert (answer.status_code, answer.json().get("code")) == (403, "SECOND_FACTOR_NEEDED")
    for stricter in (
        {"alert_sources": ["203.0.113.7"], "alerts_signed_only": True}, {"name": "Renamed"},
    ):  # fmt: skip
        answer = client.patch(address, stricter, "application/json")
        assert answer.status_code == 200, answer.content
    assert client.get(address).json()["alert_sources"] == ["203.0.113.7"]
    set_factor_age(client, world.alice, 0)
    open_to_all: dict[str, Any] = {"alert_sources": [], "alerts_signed_only": False}
    assert client.patch(address, open_to_all, "application/json").status_code == 200
    set_factor_age(client, world.alice, STALE)
    again = open_to_all | {"alert_sources": ["tradingview"]}
    assert client.patch(address, again, "application/json").status_code == 200


def test_pages_of_feeds_ask_for_the_factor_and_keep_what_was_typed(
    world: World, signed_in: SignedIn, rita: User, guarded_feed: Feed, as_web: None
) -> None:
    pages = {
        world.alice: reverse("portal:publishing_settings", args=[guarded_feed.slug]),
        rita: reverse("admin:signals_feed_change", args=[guarded_feed.pk]),
    }
    for user, page in pages.items():
        client = client_with_stale_factor(signed_in, user)
        typed = form_on(client, page) | {"name": f"Of {user}", "alert_sources": ""}
        asked = client.post(page, typed)
        assert is_asked(asked), errors_on(asked)
        shown = html_of(confirm(client, asked))
        assert f'value="Of {user}"' in shown
        with for_all_tenants():
            guarded_feed.refresh_from_db()
        assert guarded_feed.alert_sources
        assert client.post(page, typed).status_code == 302
        with for_all_tenants():
            guarded_feed.refresh_from_db()
            assert (guarded_feed.name, guarded_feed.alert_sources) == (f"Of {user}", [])
            Feed.objects.filter(pk=guarded_feed.pk).update(alert_sources=["203.0.113.7"])


def test_console_keeps_what_was_typed_about_a_provider(
    world: World,
    signed_in: SignedIn,
    rita: User,
    providers: tuple[DecisionProvider, DecisionProvider],
    as_web: None,
) -> None:
    """The page asks before anything is typed, and the factor may end while one types."""
    enrol_factor(rita)
    client = signed_in(rita)
    set_factor_age(client, rita, 0)
    page = reverse("admin:connections_decisionprovider_change", args=[providers[0].pk])
    typed = form_on(client, page) | {"name": "Typed for six minutes"}
    set_factor_age(client, rita, STALE)
    answer = client.post(page, typed)
    assert is_asked(answer)
    shown = html_of(confirm(client, answer))
    assert "Typed for six minutes" in shown
