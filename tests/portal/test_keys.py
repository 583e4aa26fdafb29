"""API keys in the portal: listed, created and displayed once, revoked; also for staff."""

import re
from datetime import UTC, datetime, timedelta

from django.test import Client
from django.utils import timezone

from events.models import Channel
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factor_steps import STALE, confirm, is_asked
from tests.portal.factories import World
from tests.portal.test_second_factor import client_with_stale_factor, set_factor_age
from users.models import ApiKey, ApiKeyNetwork
from users.services import create_api_key, user_for_key
from users.tenancy import for_all_tenants, on_behalf_of

TICKED = re.compile(r'<input type="checkbox" name="channels"[^>]* checked')


def test_new_key_is_displayed_once_and_works(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    for user in (world.alice, world.olga):
        client = signed_in(user)
        assert "No API keys yet" in html_of(client.get("/keys/"))
        form = html_of(client.get("/keys/create/"))
        assert "Publish: write, publish and cancel signals" in form
        created = client.post(
            "/keys/create/", {"name": "report", "scopes": ["read", "trade"], "life": "30"}
        )
        secret = re.search(r"fc_[0-9a-f]+_[\w-]+", html_of(created))
        assert secret
        owner = user_for_key(secret[0])
        assert owner is not None
        assert (owner.pk, owner.key_scopes) == (user.pk, frozenset({"read", "trade"}))
        listed = html_of(client.get("/keys/"))
        assert secret[0] not in listed
        assert "read, trade" in listed
        with for_all_tenants():
            key = ApiKey.objects.get(user=user)
        assert client.post(f"/keys/{key.pk}/revoke/").status_code == 302
        assert user_for_key(secret[0]) is None
        assert "Revoked" in html_of(client.get("/keys/"))


def test_key_needs_a_scope(world: World, signed_in: SignedIn, as_web: None) -> None:
    response = signed_in(world.alice).post("/keys/create/", {"name": "x", "life": "30"})
    assert (response.status_code, b"Choose at least one" in response.content) == (422, True)


def test_key_of_another_user_is_not_found(world: World, signed_in: SignedIn, as_web: None) -> None:
    with on_behalf_of(world.bob):
        key, secret = create_api_key(world.bob, "bobs")
    client = signed_in(world.alice)
    assert client.get(f"/keys/{key.pk}/revoke/").status_code == 404
    assert client.post(f"/keys/{key.pk}/revoke/").status_code == 404
    assert user_for_key(secret) is not None
    assert "bobs" not in html_of(client.get("/keys/"))
    assert Client().get("/keys/")["Location"] == "/login/?next=/keys/"


def test_key_that_ends_soon_is_marked(world: World, signed_in: SignedIn, as_web: None) -> None:
    with on_behalf_of(world.alice):
        ends = timezone.now() + timedelta(days=10)
        create_api_key(world.alice, "old script", expires_at=ends)
    assert "Expires soon: create a new one" in html_of(signed_in(world.alice).get("/keys/"))


def test_each_network_has_the_time_of_its_last_use(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    with on_behalf_of(world.alice):
        key, _ = create_api_key(world.alice, "report")
    used = datetime(2026, 11, 3, 9, 5, tzinfo=UTC)
    with for_all_tenants():
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=used)
        for network, at in (
            ("203.0.113.0/24", used),
            ("198.51.100.0/24", used - timedelta(days=2)),
        ):
            made = ApiKeyNetwork.objects.create(key=key, network=network)
            ApiKeyNetwork.objects.filter(pk=made.pk).update(last_used_at=at)
    page = " ".join(re.sub(r"<[^>]+>", " ", html_of(signed_in(world.alice).get("/keys/"))).split())
    assert "from 203.0.113.0/24, last 3 Nov 2026 09:05" in page
    assert "from 198.51.100.0/24, last 1 Nov 2026 09:05" in page


def test_revocation_names_what_the_key_made_and_offers_to_switch_its_channels_off(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    with on_behalf_of(world.alice):
        key, secret = create_api_key(world.alice, "robot")
    robot = Client(headers={"Authorization": f"Bearer {secret}"})
    for path, body in (
        ("api-keys/", {"name": "second"}),
        ("channels/", {"name": "thief", "url": "https://example.com/hook"}),
    ):
        made = robot.post(f"/api/v1/{path}", body, "application/json")
        assert made.status_code == 201, made.content
    client, page = signed_in(world.alice), f"/keys/{key.pk}/revoke/"
    assert "made with the key “robot”" in html_of(client.get("/keys/"))
    asked = html_of(client.get(page))
    assert "What it made ends, too: key “second" in asked
    with for_all_tenants():
        thief = f"channel “thief ({Channel.objects.get(name='thief').url_display})”"
    assert f"It added {thief}, which goes on receiving messages about your accounts" in asked
    assert "unless you switch it off below" in asked
    assert "Switch off the channels that it added" in asked
    assert not TICKED.search(asked), "who merely replaces a key keeps the alarms"
    client.post(page)  # the box is not ticked
    assert user_for_key(secret) is None
    with for_all_tenants():
        assert Channel.objects.get(name="thief").is_active
    done = html_of(client.post(page, {"channels": "on"}, follow=True))
    assert f"Switched off: {thief}." in done
    with for_all_tenants():
        assert not Channel.objects.get(name="thief").is_active


def test_channels_are_switched_off_with_their_key_with_a_fresh_factor_only(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    """To revoke the key alone must stay quick."""
    with on_behalf_of(world.alice):
        key, secret = create_api_key(world.alice, "robot")
    robot = Client(headers={"Authorization": f"Bearer {secret}"})
    body = {"name": "alarms", "url": "https://example.com/hook"}
    assert robot.post("/api/v1/channels/", body, "application/json").status_code == 201
    client = client_with_stale_factor(signed_in, world.alice)
    call, page = f"/api/v1/api-keys/{key.pk}/revoke/", f"/keys/{key.pk}/revoke/"
    refused = client.post(call, {"channels": True}, "application/json")
    assert (refused.status_code, refused.json()["code"]) == (403, "SECOND_FACTOR_NEEDED")
    asked = client.post(page, {"channels": "on"})
    assert is_asked(asked)
    assert user_for_key(secret) is not None, "nothing was done"
    assert TICKED.search(html_of(confirm(client, asked))), "what was chosen is kept"
    set_factor_age(client, world.alice, STALE)
    assert client.post(page).status_code == 302
    assert user_for_key(secret) is None
    with for_all_tenants():
        assert Channel.objects.get(name="alarms").is_active
    set_factor_age(client, world.alice, 0)
    client.post(page, {"channels": "on"})
    with for_all_tenants():
        assert not Channel.objects.get(name="alarms").is_active
