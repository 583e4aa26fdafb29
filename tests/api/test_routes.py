"""Where a routed subscription's next entry would go, over the API."""

from decimal import Decimal
from typing import Any

import pytest

from connections import services
from connections.models import ExecutionConnection, Subscription
from connections.services import RouteAccount
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.api.test_problems import problem
from tests.connections import make
from tests.execution import factories


@pytest.fixture
def routed(world: World) -> Subscription:
    """Alice's subscription of two accounts, the second of which is paused."""
    factories.instrument()
    feed = world.public
    accounts = [factories.account(None, type="paper") for _ in range(2)]
    ExecutionConnection.objects.filter(pk__in=[one.pk for one in accounts]).update(user=world.alice)
    taken = make.subscription(ExecutionConnection.objects.get(pk=accounts[0].pk), feed)
    services.set_route(
        taken.pk, by=world.alice, policy="HEALTH",
        accounts=[RouteAccount(one.pk, 0, {}) for one in accounts],
    )  # fmt: skip
    ExecutionConnection.objects.filter(pk=accounts[1].pk).update(is_paused=True)
    return taken


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
