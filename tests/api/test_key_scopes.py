"""Every endpoint × every scope of an API key, and what else limits a key."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient

from common.permissions import Scope
from signals.models import FeedToken
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.api.test_matrix import CASES, KEYED, call
from users.models import ApiKey, SecondFactor, User
from users.services import create_api_key, revoke_api_key

PUBLISHING, TRADING = ("signals", "feeds"), ("orders", "positions", "drift")


def needed(name: str) -> Scope:
    """What the contract says: reading reads, the rest goes by what is changed."""
    method, path = name.split(" ")
    room = path.removeprefix("/api/v1/").split("/")[0]
    if method == "GET":
        return Scope.READ
    if room in PUBLISHING:
        return Scope.PUBLISH
    return Scope.TRADE if room in TRADING else Scope.OPERATE


@pytest.mark.parametrize("scope", Scope)
def test_a_key_opens_what_its_scope_says_and_nothing_else(
    world: World, as_web: AsWeb, scope: Scope
) -> None:
    User.objects.filter(pk=world.olga.pk).update(is_superuser=True)  # not limited by a right
    for who, user in (("alice", world.alice), ("olga", world.olga)):
        world.keys[who] = create_api_key(user, "narrow", scopes=[scope])[1]
    for name in KEYED:
        who = "olga" if CASES[name].kind == "operator" else "alice"
        with transaction.atomic():
            with as_web():
                answer = call(world, who, name, CASES[name])
            told: Any = answer.json() if answer.content else {}
            is_refused = answer.status_code == 403 and told.get("numbers", {}).get("scope")
            assert bool(is_refused) is (scope is not needed(name)), (name, told)
            if is_refused:
                assert told["code"] == "RIGHT_MISSING"
                assert repr(needed(name).value) in told["detail"]
            transaction.set_rollback(True)


def test_the_schema_names_the_scope_of_every_operation() -> None:
    generator: Any = SchemaGenerator
    schema = generator().get_schema(request=None, public=True)
    for name in KEYED:
        method, path = name.split(" ")
        said = schema["paths"][path][method.lower()]["description"]
        assert said.endswith(f"Scope of an API key: `{needed(name)}`."), name


def test_a_key_of_who_is_switched_off_is_dead_at_once(world: World) -> None:
    client = world.client("alice")
    assert client.get("/api/v1/me/").status_code == 200
    User.objects.filter(pk=world.alice.pk).update(is_active=False)
    assert client.get("/api/v1/me/").status_code == 401


def test_a_key_never_allows_more_than_its_owner_may_now(world: World) -> None:
    """Olga's key has every scope; her rights are taken from her, not from the key."""
    client, approve = world.client("olga"), f"/api/v1/signals/{world.signal.pk}/approve/"
    olga = User.objects.get(pk=world.olga.pk)
    olga.groups.clear()
    User.objects.filter(pk=olga.pk).update(is_staff=False, is_superuser=False)
    assert client.post(approve).status_code in (403, 404)


def test_a_new_key_reads_only_and_ends_in_ninety_days_unless_it_is_said(world: World) -> None:
    made = world.client("alice").post("/api/v1/api-keys/", {"name": "report"}, format="json")
    assert made.status_code == 201
    assert made.json()["key"]["scopes"] == ["read"]
    key = ApiKey.objects.get(pk=made.json()["key"]["id"])
    assert key.expires_at is not None
    assert abs(key.expires_at - timezone.now() - timedelta(days=90)) < timedelta(minutes=5)


@pytest.mark.parametrize(
    "said",
    [
        {"scopes": []},
        {"scopes": ["everything"]},
        {"scopes": "read"},
        {"expires_at": "2099-01-01T00:00:00Z"},
    ],
)
def test_what_a_key_cannot_be(world: World, said: dict[str, Any]) -> None:
    made = world.client("alice").post("/api/v1/api-keys/", {"name": "n", **said}, format="json")
    assert made.status_code == 400, made.json()


def test_a_key_made_with_a_key_has_no_more_and_ends_no_later(world: World) -> None:
    _key, secret = create_api_key(
        world.alice, "narrow", scopes=["operate"], expires_at=timezone.now() + timedelta(days=5)
    )
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    ends = (timezone.now() + timedelta(days=1)).isoformat()

    def make(**said: Any) -> int:
        body = {"name": "n", "scopes": ["operate"], "expires_at": ends, **said}
        return int(client.post("/api/v1/api-keys/", body, format="json").status_code)

    assert make() == 201
    assert make(scopes=["operate", "trade"]) == 403
    assert make(expires_at=(timezone.now() + timedelta(days=6)).isoformat()) == 403
    SecondFactor.objects.create(user=world.alice, sealed_secret=b"x", last_step=0)
    assert make() == 403  # then keys are made where the second factor is asked for


def test_an_alert_address_that_a_key_made_ends_with_the_key(world: World) -> None:
    week = timezone.now() + timedelta(days=7)
    key, secret = create_api_key(world.alice, "short", expires_at=week, scopes=[Scope.PUBLISH])
    client = APIClient(headers={"Authorization": f"Bearer {secret}"})
    path = f"/api/v1/feeds/{world.feed.slug}/tokens/"
    later = client.post(path, {"expires_at": (week + timedelta(hours=1)).isoformat()}, "json")
    assert later.status_code == 400
    assert "expires_at" in later.content.decode()
    made = client.post(path, {"name": "alerts"}, "json").json()
    assert FeedToken.objects.get(pk=made["token"]["id"]).expires_at == week
    alert = {"symbol": "FX:EURUSD", "direction": "buy", "sl": "1.08"}
    assert client.post(made["path"], alert, "json").status_code == 201
    revoke_api_key(key.pk)
    closed = client.post(made["path"], {**alert, "external_id": "2"}, "json")
    assert (closed.status_code, closed.json()["code"]) == (404, "FEED_UNKNOWN")
