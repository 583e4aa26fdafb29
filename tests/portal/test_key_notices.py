"""The owner of an API key is notified a week and a day before it ends, and when it has ended."""

from datetime import timedelta

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone

from common.db.sql import run
from events.models import Channel, Notification
from events.services import deliver
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from users.models import ApiKey, User
from users.services import create_api_key, revoke_api_key
from users.tasks import notify_of_key_ends

pytestmark = pytest.mark.usefixtures("sends")
WEEK = "API key “report” ({}…) ends in 7 days"
DAY = "API key “report” ({}…) ends in 1 day"
ENDED = "API key “report” ({}…) has ended"


@pytest.fixture(autouse=True)
def empty_inboxes(world: World) -> None:
    """Delete the world's notifications: their invented event numbers would collide with others."""
    Notification.objects.all().delete()


def make_key(client: Client, days: int) -> ApiKey:
    client.post("/keys/create/", {"name": "report", "scopes": ["read"], "life": str(days)})
    return ApiKey.objects.get(name="report")


def pass_time(days: float) -> None:
    """Let this much time pass for every key."""
    run(
        "UPDATE users_apikey SET expires_at = expires_at - %s, created_at = created_at - %s",
        [timedelta(days=days)] * 2,
    )
    run("UPDATE users_apikeynotice SET ends_at = ends_at - %s", [timedelta(days=days)])


def titles_after_check(client: Client) -> list[str]:
    """Run the hourly check three times and deliver; return the inbox's titles, oldest first."""
    for _ in range(3):
        notify_of_key_ends.apply()
    deliver()
    results = client.get("/api/v1/notifications/").json()["results"]
    return [
        result["title"] for result in reversed(results) if result["kind"].startswith("api_key.end")
    ]


def test_owner_is_notified_once_at_each_of_three_moments(
    world: World, signed_in: SignedIn, email_channel: Channel
) -> None:
    client, bob = signed_in(world.alice), signed_in(world.bob)
    key = make_key(client, 30)
    assert titles_after_check(client) == []
    pass_time(22.9)
    assert titles_after_check(client) == []
    pass_time(0.2)
    assert titles_after_check(client) == [WEEK.format(key.prefix)]
    pass_time(5.8)
    assert titles_after_check(client) == [WEEK.format(key.prefix)]
    pass_time(0.2)
    assert titles_after_check(client)[1:] == [DAY.format(key.prefix)]
    pass_time(1)
    assert titles_after_check(client)[2:] == [ENDED.format(key.prefix)]
    pass_time(30)
    assert len(titles_after_check(client)) == 3
    assert titles_after_check(bob) == []

    body = client.get("/api/v1/notifications/").json()["results"][0]["body"]
    assert "make a new key under Keys and put it into that program" in body
    assert "If it set up alert addresses, Telegram bots or chats, they have ended, too" in body
    assert "https://fillcast.example.com/keys/" in mail.outbox[0].body


@pytest.mark.parametrize("days", [1, 7])
def test_key_no_longer_than_the_warning_is_reported_only_when_it_ends(
    world: World, signed_in: SignedIn, days: int
) -> None:
    client = signed_in(world.alice)
    end = timezone.now() + timedelta(days=days)
    key, _ = create_api_key(world.alice, "report", expires_at=end)
    assert titles_after_check(client) == []
    pass_time(days + 0.01)
    assert titles_after_check(client)[-1] == ENDED.format(key.prefix)


def test_missed_checks_cause_only_the_latest_notice(world: World, signed_in: SignedIn) -> None:
    client = signed_in(world.alice)
    key = make_key(client, 30)
    pass_time(29.5)
    assert titles_after_check(client) == [DAY.format(key.prefix)]


def test_revoked_keys_and_inactive_owners_cause_no_notice(
    world: World, signed_in: SignedIn
) -> None:
    client = signed_in(world.alice)
    revoke_api_key(make_key(client, 30).pk)
    create_api_key(world.bob, "bobs", expires_at=timezone.now() + timedelta(days=30))
    User.objects.filter(pk=world.bob.pk).update(is_active=False)
    pass_time(29)
    assert titles_after_check(client) == []
    User.objects.filter(pk=world.bob.pk).update(is_active=True)
    assert titles_after_check(signed_in(world.bob)) != []
