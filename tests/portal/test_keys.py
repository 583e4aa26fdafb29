"""One's API keys in the portal: listed, made and shown once, revoked; staff have the same page."""

import re
from datetime import timedelta

from django.test import Client
from django.utils import timezone

from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from users.models import ApiKey
from users.services import create_api_key, user_for_key
from users.tenancy import for_all_tenants, on_behalf_of


def test_a_key_is_made_shown_once_and_works(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    for user in (world.alice, world.olga):
        client = signed_in(user)
        assert "No API keys yet" in html_of(client.get("/keys/"))
        form = html_of(client.get("/keys/create/"))
        assert "Publish: write, publish and cancel signals" in form
        made = client.post(
            "/keys/create/", {"name": "report", "scopes": ["read", "trade"], "life": "30"}
        )
        found = re.search(r"fc_[0-9a-f]+_[\w-]+", html_of(made))
        assert found
        owner = user_for_key(found[0])
        assert owner is not None
        assert (owner.pk, owner.key_scopes) == (user.pk, frozenset({"read", "trade"}))
        listed = html_of(client.get("/keys/"))
        assert found[0] not in listed
        assert "read, trade" in listed
        with for_all_tenants():
            key = ApiKey.objects.get(user=user)
        assert client.post(f"/keys/{key.pk}/revoke/").status_code == 302
        assert user_for_key(found[0]) is None
        assert "Revoked" in html_of(client.get("/keys/"))


def test_nothing_is_made_of_a_form_without_a_scope(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    told = signed_in(world.alice).post("/keys/create/", {"name": "x", "life": "30"})
    assert (told.status_code, b"Choose at least one" in told.content) == (422, True)


def test_anothers_key_is_not_there(world: World, signed_in: SignedIn, as_web: None) -> None:
    with on_behalf_of(world.bob):
        key, secret = create_api_key(world.bob, "bobs")
    client = signed_in(world.alice)
    assert client.get(f"/keys/{key.pk}/revoke/").status_code == 404
    assert client.post(f"/keys/{key.pk}/revoke/").status_code == 404
    assert user_for_key(secret) is not None
    assert "bobs" not in html_of(client.get("/keys/"))
    assert Client().get("/keys/")["Location"] == "/login/?next=/keys/"


def test_a_key_that_ends_soon_says_so(world: World, signed_in: SignedIn, as_web: None) -> None:
    with on_behalf_of(world.alice):
        ends = timezone.now() + timedelta(days=10)
        create_api_key(world.alice, "old script", expires_at=ends)
    assert "Expires soon: create a new one" in html_of(signed_in(world.alice).get("/keys/"))
