"""A key that is used from a new network: noticed once, without slowing calls down."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from common.permissions import Scope
from events.models import Event, EventKind
from tests.connections import make
from users import services
from users.keys import networks as key_networks
from users.models import ApiKeyNetwork, User

pytestmark = pytest.mark.django_db
HOME, NEAR, AWAY = "203.0.113.7", "203.0.113.99", "198.51.100.4"


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    key_networks.forget()
    yield
    key_networks.forget()


@pytest.fixture
def alice(db: None) -> User:
    return make.user("alice")


def caller(user: User, *scopes: Scope) -> APIClient:
    _, secret = services.create_api_key(user, "bot", scopes=scopes or tuple(Scope))
    return APIClient(headers={"Authorization": f"Bearer {secret}"})


def call(client: APIClient, address: str, path: str = "/api/v1/channels/", **body: Any) -> int:
    send = client.post if body else client.get
    return int(send(path, body or None, REMOTE_ADDR=address).status_code)


def alarms() -> list[str]:
    found = Event.objects.filter(kind=EventKind.API_KEY_NEW_NETWORK).order_by("id")
    return [event.payload["network"] for event in found]


def test_new_network_is_reported_once_and_the_first_is_not(alice: User) -> None:
    client = caller(alice)
    assert [call(client, address) for address in (HOME, NEAR)] == [200, 200]
    assert alarms() == []
    for _ in range(3):
        key_networks.forget()  # other processes
        call(client, AWAY)
    assert alarms() == ["198.51.100.0/24"]
    event = Event.objects.get(kind=EventKind.API_KEY_NEW_NETWORK)
    assert event.user_id == alice.pk
    assert AWAY not in str(event.payload)
    assert set(ApiKeyNetwork.objects.values_list("network", flat=True)) == {
        "203.0.113.0/24", "198.51.100.0/24",
    }  # fmt: skip


def test_refused_call_is_reported_too(alice: User) -> None:
    client = caller(alice, Scope.READ)
    call(client, HOME)
    assert call(client, AWAY, name="x", url="mailto:a@example.com") == 403
    assert alarms() == ["198.51.100.0/24"]


def test_wrong_secret_is_no_use(alice: User) -> None:
    call(caller(alice), HOME)
    thief = APIClient(headers={"Authorization": "Bearer fc_abc_wrong"})
    assert call(thief, AWAY) == 401
    assert alarms() == []


def test_alarms_of_a_key_are_limited_within_a_day(alice: User) -> None:
    client = caller(alice)
    for number in range(30):
        call(client, f"198.51.{number}.1")
    assert len(alarms()) == key_networks.MOST_ALARMS - 1  # the first network is no alarm


def test_key_made_with_a_key_is_compared_with_the_networks_of_both(alice: User) -> None:
    first = caller(alice)
    made = first.post("/api/v1/api-keys/", {"name": "second"}, format="json", REMOTE_ADDR=HOME)
    second = APIClient(headers={"Authorization": f"Bearer {made.json()['secret']}"})
    assert [call(second, NEAR), alarms()] == [200, []]  # known of the first key
    assert [call(second, AWAY), alarms()] == [200, ["198.51.100.0/24"]]
    name = Event.objects.get(kind=EventKind.API_KEY_NEW_NETWORK).payload["name"]
    assert name == "second"
    networks = ApiKeyNetwork.objects.filter(key__name="second").order_by("id")
    assert [one.network for one in networks] == ["203.0.113.0/24", "198.51.100.0/24"]


def test_first_call_with_a_key_that_a_key_made_is_reported_from_elsewhere(alice: User) -> None:
    first = caller(alice)
    made = first.post("/api/v1/api-keys/", {"name": "second"}, format="json", REMOTE_ADDR=HOME)
    second = APIClient(headers={"Authorization": f"Bearer {made.json()['secret']}"})
    assert [call(second, AWAY), alarms()] == [200, ["198.51.100.0/24"]]


def test_known_network_costs_no_statement(alice: User) -> None:
    client = caller(alice)
    call(client, HOME)
    with CaptureQueriesContext(connection) as captured:
        call(client, HOME)
    assert not [query for query in captured if "apikeynetwork" in query["sql"]]
    alice.key_id = ApiKeyNetwork.objects.get().key_id
    with CaptureQueriesContext(connection) as captured:
        key_networks.record_use(alice, HOME)
    assert not captured.captured_queries


def test_last_use_is_updated_after_a_minute(alice: User) -> None:
    client = caller(alice)
    call(client, HOME)
    first = ApiKeyNetwork.objects.get().last_used_at
    key_networks.forget()
    call(client, NEAR)
    again = ApiKeyNetwork.objects.get().last_used_at
    assert again > first


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.0/24"),
        ("::ffff:203.0.113.7", "203.0.113.0/24"),
        ("2001:db8:1:2::5", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("", ""),
        ("unix:", ""),
    ],
)
def test_network_of_an_address(address: str, network: str) -> None:
    assert key_networks.network_of(address) == network
