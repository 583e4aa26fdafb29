"""Where a routed subscription's next entry would go, over the API."""

from decimal import Decimal
from typing import Any

import pytest

from connections.models import Subscription
from tests.api.conftest import AsWeb
from tests.api.factories import World, routed_subscription
from tests.api.test_problems import problem


@pytest.fixture
def routed(world: World) -> Subscription:
    return routed_subscription(world)


def get(world: World, taken: Subscription, query: dict[str, str], who: str = "alice") -> Any:
    return world.client(who).get(f"/api/v1/subscriptions/{taken.pk}/route/", query)


def test_chosen_account_and_why_not_the_other(
    world: World, routed: Subscription, as_web: AsWeb
) -> None:
    with as_web():
        answer = get(world, routed, {"symbol": "EUR/USD"})
    assert answer.status_code == 200, answer.content
    found = answer.json()
    assert (found["pair"], found["side"], found["policy"]) == ("EUR/USD", "BUY", "HEALTH")
    first, second = found["lines"]
    assert (first["connection"], first["is_chosen"]) == (str(routed.connection_id), True)
    assert first["reason"] is None
    assert Decimal(first["spread"]) > 0
    assert (second["is_chosen"], second["reason"]["code"]) == (False, "CONNECTION_PAUSED")


def test_route_of_another_and_wrong_values_are_refused(world: World, routed: Subscription) -> None:
    problem(get(world, routed, {}, "bob"), 404, "NOT_FOUND")
    problem(get(world, world.subscription, {}), 409, "STATE_CONFLICT")
    for query in ({"side": "LONG"}, {"symbol": "no such thing"}):
        (error,) = get(world, routed, query).json()["errors"]
        assert error["field"] in query
