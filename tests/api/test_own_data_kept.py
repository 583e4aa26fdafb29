"""What the API does not show to others, and does not change without a password."""

import pytest
from django.urls import get_resolver

from config.middleware.second_factor import REAUTHENTICATED_API_CALLS, REAUTHENTICATED_VIEWS
from tests.api.factories import World

pytestmark = pytest.mark.django_db
# Each shows a new secret with which signals are published, or lets one more chat publish.
PORTAL = {"alert_address_new", "alert_address_replace", "telegram_token", "telegram_chat",
          "telegram_forwarding"}  # fmt: skip
API = {("feed-tokens", "POST"), ("feed-rotate-token", "POST"), ("feed-telegram-bot", "POST"),
       ("feed-telegram-chat", "PATCH")}  # fmt: skip


def test_address_is_not_changed_without_a_password(world: World) -> None:
    answer = world.client("alice").patch("/api/v1/me/", {"email": "x@example.org"}, format="json")
    assert answer.status_code == 400
    world.alice.refresh_from_db()
    assert world.alice.email != "x@example.org"


def test_only_those_who_publish_see_how_alerts_are_guarded(world: World) -> None:
    path = f"/api/v1/feeds/{world.feed.slug}/"
    assert "alert_sources" in world.client("alice").get(path).json()
    world.feed.__class__.objects.filter(pk=world.feed.pk).update(is_public=True)
    shown = world.client("bob").get(path).json()
    assert shown["slug"] == world.feed.slug
    assert not {name for name in shown if name.startswith("alert")}


def test_what_lets_signals_in_needs_a_fresh_second_factor() -> None:
    names = get_resolver().reverse_dict
    assert all(f"portal:{name}" in REAUTHENTICATED_VIEWS for name in PORTAL)
    assert API <= REAUTHENTICATED_API_CALLS
    assert all(name in names for name, _ in API)
