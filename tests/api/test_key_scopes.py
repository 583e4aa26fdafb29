"""Every endpoint × every scope of an API key, and the other limits of a key."""

from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from common.permissions import Scope
from events.context import EventContext
from events.messages import render
from events.models import Channel, Event, EventKind
from signals.models import FeedToken
from tests.api.calls import KEYED, call, data_of, outcome, required_scope
from tests.api.cases import CASES
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.api.schemas import whole_schema
from tests.matrix import WALK_TIME, Walk
from users.models import ApiKey, SecondFactor, User
from users.services import create_api_key, revoke_api_key


@WALK_TIME
def test_key_of_all_other_scopes_is_refused(world: World, as_web: AsWeb) -> None:
    """A key of the required scope alone is allowed: test_matrix.py."""
    User.objects.filter(pk=world.olga.pk).update(is_superuser=True)  # not limited by a right
    clients = {}
    for required, user in product(Scope, (world.alice, world.olga)):
        others = [scope for scope in Scope if scope != required]
        name = f"{user.username} without {required}"
        world.keys[name] = create_api_key(user, "narrow", scopes=others)[1]
        clients[name] = world.client(name)
    with Walk() as walk:
        for name in walk.each(KEYED):
            required = required_scope(name)
            owner = "olga" if CASES[name].kind == "operator" else "alice"
            with walk.cell(name, f"key of {owner} without {required}") as cell:
                with as_web():
                    response = call(
                        world, clients[f"{owner} without {required}"], name, CASES[name]
                    )
                cell.expect("403 RIGHT_MISSING", outcome(response))
                data = data_of(response)
                cell.expect(True, "scope" in data.get("numbers", {}), "is refused by its scope")
                names_it = repr(required.value) in data.get("detail", "")
                cell.expect(True, names_it, f"names {required.value!r}")


def test_schema_names_the_scope_of_every_operation() -> None:
    schema = whole_schema()
    for name in KEYED:
        method, path = name.split(" ")
        description = schema["paths"][path][method.lower()]["description"]
        assert description.endswith(f"Scope of an API key: `{required_scope(name)}`."), name


def test_key_of_a_deactivated_user_stops_working_at_once(world: World) -> None:
    client = world.client("alice")
    assert client.get("/api/v1/me/").status_code == 200
    User.objects.filter(pk=world.alice.pk).update(is_active=False)
    assert client.get("/api/v1/me/").status_code == 401


def test_key_never_allows_more_than_its_owner_may_do_now(world: World) -> None:
    """Olga's key has every scope; her own rights are removed."""
    client, approve = world.client("olga"), f"/api/v1/signals/{world.signal.pk}/approve/"
    olga = User.objects.get(pk=world.olga.pk)
    olga.groups.clear()
    User.objects.filter(pk=olga.pk).update(is_staff=False, is_superuser=False)
    assert client.post(approve).status_code in (403, 404)


def test_new_key_is_read_only_and_ends_in_ninety_days_by_default(world: World) -> None:
    created = world.client("alice").post("/api/v1/api-keys/", {"name": "report"}, format="json")
    assert created.status_code == 201
    assert created.json()["key"]["scopes"] == ["read"]
    key = ApiKey.objects.get(pk=created.json()["key"]["id"])
    assert key.expires_at is not None
    assert abs(key.expires_at - timezone.now() - timedelta(days=90)) < timedelta(minutes=5)


@pytest.mark.parametrize(
    "fields",
    [
        {"scopes": []},
        {"scopes": ["everything"]},
        {"scopes": "read"},
        {"expires_at": "2099-01-01T00:00:00Z"},
    ],
)
def test_key_with_invalid_fields_is_refused(world: World, fields: dict[str, Any]) -> None:
    created = world.client("alice").post(
        "/api/v1/api-keys/", {"name": "n", **fields}, format="json"
    )
    assert created.status_code == 400, created.json()


def test_key_created_by_a_key_has_no_more_rights_and_ends_no_later(world: World) -> None:
    _key, secret = create_api_key(
        world.alice, "narrow", scopes=["operate"], expires_at=timezone.now() + timedelta(days=5)
    )
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    ends = (timezone.now() + timedelta(days=1)).isoformat()

    def make(**fields: Any) -> int:
        body = {"name": "n", "scopes": ["operate"], "expires_at": ends, **fields}
        return int(client.post("/api/v1/api-keys/", body, format="json").status_code)

    assert make() == 201
    assert make(scopes=["operate", "trade"]) == 403
    assert make(expires_at=(timezone.now() + timedelta(days=6)).isoformat()) == 403
    SecondFactor.objects.create(user=world.alice, sealed_secret=b"x", last_step=0)
    assert make() == 403  # keys are then created where the second factor is checked


def keyed(secret: str) -> APIClient:
    return APIClient(headers={"Authorization": f"Bearer {secret}"})


def made_with(secret: str, **fields: Any) -> str:
    body = {"name": "second", "scopes": ["read", "operate", "publish"], **fields}
    made = keyed(secret).post("/api/v1/api-keys/", body, "json")
    assert made.status_code == 201, made.json()
    return str(made.json()["secret"])


def test_key_made_with_a_key_is_revoked_with_it(world: World, as_web: AsWeb) -> None:
    stolen, secret = create_api_key(world.alice, "robot")
    with as_web():
        second = made_with(secret)
        assert keyed(second).get("/api/v1/me/").status_code == 200
        assert keyed(secret).post(f"/api/v1/api-keys/{stolen.pk}/revoke/").status_code == 200
        for ended in (secret, second):
            assert keyed(ended).get("/api/v1/me/").status_code == 401
    child = ApiKey.objects.get(name="second")
    assert (child.made_with, child.revoked_at is None) == (stolen, False)


def test_alert_address_made_with_a_key_of_a_key_ends_with_the_first(world: World) -> None:
    stolen, secret = create_api_key(world.alice, "robot")
    path = f"/api/v1/feeds/{world.feed.slug}/tokens/"
    created = keyed(made_with(secret)).post(path, {"name": "alerts"}, "json").json()
    alert = {"symbol": "FX:EURUSD", "direction": "buy", "sl": "1.08"}
    assert keyed("").post(created["path"], alert, "json").status_code == 202
    assert revoke_api_key(stolen.pk, by=world.alice)
    closed = keyed("").post(created["path"], {**alert, "external_id": "2"}, "json")
    assert (closed.status_code, closed.json()["code"]) == (404, "FEED_UNKNOWN")


def test_key_made_with_a_key_makes_no_keys(world: World) -> None:
    _, secret = create_api_key(world.alice, "robot")
    second = made_with(secret)
    refused = keyed(second).post("/api/v1/api-keys/", {"name": "third"}, "json")
    assert (refused.status_code, refused.json()["code"]) == (403, "API_KEY_MADE_WITH_KEY")
    assert not ApiKey.objects.filter(name="third").exists()


def message_of(event: Event) -> str:
    words = render(
        EventContext(
            event.pk, event.kind, event.user_id, None, None, None, event.payload, event.created_at
        )
    )
    return f"{words.title}\n{words.body}"


def test_owner_is_notified_of_a_new_key(world: World) -> None:
    robot, secret = create_api_key(world.alice, "robot")
    made_with(secret)
    create_api_key(world.alice, "by herself", by=world.alice)
    found = Event.objects.filter(kind=EventKind.API_KEY_MADE).order_by("pk")
    with_key, signed_in = found
    assert (with_key.user_id, signed_in.user_id) == (world.alice.pk, world.alice.pk)
    words = message_of(with_key)
    assert words.startswith("API key “second”")
    assert f"made with the key “robot” ({robot.prefix}…)" in words
    assert "Its scopes are read, publish and operate; it ends on" in words
    create_api_key(world.alice, "reader", scopes=["read"], by=world.alice)
    reader = Event.objects.filter(kind=EventKind.API_KEY_MADE).latest("pk")
    assert "Its scope is read; it ends on" in message_of(reader)
    assert "signed in as you" in message_of(signed_in)
    assert secret not in str(with_key.payload)


def test_revocation_states_what_the_key_set_up_and_switches_its_channels_off(
    world: World, as_web: AsWeb
) -> None:
    stolen, secret = create_api_key(world.alice, "robot")
    with as_web():
        for key, name in ((secret, "thief"), (made_with(secret), "thief's second")):
            body = {"name": name, "url": "https://example.com/hook"}
            made = keyed(key).post("/api/v1/channels/webhooks/", body, "json")
            assert made.status_code == 201, made.json()
        keyed(secret).post(f"/api/v1/feeds/{world.feed.slug}/tokens/", {"name": "alerts"}, "json")
        path = f"/api/v1/api-keys/{stolen.pk}/revoke/"
        own = world.client("alice")
        rows = {one["id"]: one["set_up"] for one in own.get("/api/v1/api-keys/").json()["results"]}
        listed = own.post(path, {}, format="json").json()["set_up"]
        assert rows[stolen.pk] == listed
        second = ApiKey.objects.get(name="second")
        assert [one["name"] for one in rows[second.pk]] == ["thief's second (https://example.com)"]
        assert [(one["kind"], one["ends_with_key"]) for one in listed] == [
            ("channel", False), ("channel", False), ("alert address", True),
        ]  # fmt: skip
        assert "thief (https://example.com)" in listed[0]["name"]
        assert Channel.objects.filter(name__startswith="thief", is_active=True).count() == 2
        left = own.post(path, {"channels": True}, format="json").json()["set_up"]
        assert [one["kind"] for one in left] == ["alert address"]
    assert not Channel.objects.filter(name__startswith="thief", is_active=True).exists()


def test_alert_address_created_by_a_key_ends_with_the_key(world: World) -> None:
    week = timezone.now() + timedelta(days=7)
    key, secret = create_api_key(world.alice, "short", expires_at=week, scopes=[Scope.PUBLISH])
    client = APIClient(headers={"Authorization": f"Bearer {secret}"})
    path = f"/api/v1/feeds/{world.feed.slug}/tokens/"
    later = client.post(path, {"expires_at": (week + timedelta(hours=1)).isoformat()}, "json")
    assert later.status_code == 400
    assert "expires_at" in later.content.decode()
    created = client.post(path, {"name": "alerts"}, "json").json()
    assert FeedToken.objects.get(pk=created["token"]["id"]).expires_at == week
    alert = {"symbol": "FX:EURUSD", "direction": "buy", "sl": "1.08"}
    assert client.post(created["path"], alert, "json").status_code == 202
    revoke_api_key(key.pk)
    closed = client.post(created["path"], {**alert, "external_id": "2"}, "json")
    assert (closed.status_code, closed.json()["code"]) == (404, "FEED_UNKNOWN")
