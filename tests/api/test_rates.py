"""Throttles: each operation counts for its scope; each scope and each user has its own rate."""

from typing import Any

import pytest
from django.core.cache import cache
from rest_framework.test import APIClient

from common.operational.document import RATES
from common.permissions import Scope
from tests.api.calls import KEYED, call, outcome, required_scope
from tests.api.cases import CASES
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.api.test_problems import problem
from tests.matrix import WALK_TIME, Walk
from tests.operational import set_setting
from users.services import create_api_key

PLENTY = 1_000_000


def allow(settings: Any, **rates: int) -> None:
    """Set the rates of these scopes; of all others plenty is allowed."""
    for name in RATES:
        set_setting(f"api_rates.{name}", rates.get(name, PLENTY))


@WALK_TIME
def test_each_operation_is_limited_by_the_rate_of_its_scope(
    world: World, as_web: AsWeb, settings: Any
) -> None:
    """That no other scope's rate counts is in test_matrix.py."""
    allow(settings, **{scope.value: 0 for scope in Scope})
    clients = {username: world.client(username) for username in ("alice", "olga")}
    with Walk() as walk:
        for name in walk.each(KEYED):
            caller = "olga" if CASES[name].kind == "operator" else "alice"
            with walk.cell(name, caller) as cell:
                with as_web():
                    answer = call(world, clients[caller], name, CASES[name])
                cell.expect("429 THROTTLED", outcome(answer))
                body = problem(answer, 429, "THROTTLED")
                cell.expect(required_scope(name).value, body["numbers"]["scope"], "scope")
                cell.expect(True, 1 <= int(answer["Retry-After"]) <= 60, "within a minute")


def test_scopes_have_rates_of_their_own(world: World, settings: Any) -> None:
    set_setting("api_rates.operate", 1)
    set_setting("api_rates.anonymous", 1)
    client = world.client("alice")
    path = f"/api/v1/connections/{world.connection.pk}/pause/"
    first = client.post(path, HTTP_IDEMPOTENCY_KEY="k")
    assert first["RateLimit-Policy"] == '"operate";q=1;w=60'
    assert first["RateLimit"].startswith('"operate";r=0;t=')
    refused = client.post(path, HTTP_IDEMPOTENCY_KEY="k")
    error = problem(refused, 429, "THROTTLED")
    assert error["numbers"]["scope"] == "operate"
    assert 1 <= int(refused["Retry-After"]) <= 60
    assert "Go on in" in error["detail"]
    assert client.get("/api/v1/me/").status_code == 200


@pytest.mark.parametrize(
    ("scope", "path"),
    [
        ("trade", "orders/cancel-all/"),
        ("publish", "signals/"),
        ("operate", "connections/{account}/pause/"),
        ("prices", "data-connections/{source}/quotes/"),
    ],
)
def test_as_many_requests_of_a_scope_pass_as_are_set(
    world: World, settings: Any, scope: str, path: str
) -> None:
    path = path.format(account=world.connection.pk, source=world.connection.data_connection_id)
    client = world.client("alice")
    for rate in (1, 3):
        cache.clear()
        allow(settings, **{scope: rate})
        codes = [client.post(f"/api/v1/{path}").status_code for _ in range(4)]
        assert codes.count(429) == 4 - rate, codes


def test_rate_is_a_users_over_all_keys(world: World, settings: Any) -> None:
    allow(settings, read=2)
    other = APIClient()
    secret = create_api_key(world.alice, "second", scopes=["read"])[1]
    other.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    clients = (world.client("alice"), other, world.client("alice"), other, world.client("bob"))
    codes = [client.get("/api/v1/me/").status_code for client in clients]
    assert codes == [200, 200, 429, 429, 200]


def test_visitors_have_a_rate_by_address(world: World, settings: Any) -> None:
    allow(settings, anonymous=1)
    world.feed.record_is_public = world.feed.is_public = True
    world.feed.save()
    path = f"/api/v1/feeds/{world.feed.slug}/record/"
    first, second = (APIClient().get(path) for _ in range(2))
    elsewhere = APIClient(REMOTE_ADDR="203.0.113.9").get(path)
    assert [one.status_code for one in (first, second, elsewhere)] == [200, 429, 200]
    assert first["RateLimit-Policy"] == '"anonymous";q=1;w=60'
    problem(second, 429, "THROTTLED")
