"""A new trade waits while due orders wait for the machine; what changes or closes one does not."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.utils import timezone

from execution import publication_pace
from execution.models import Order
from execution.runtime.open_work import BEHIND_SECONDS, is_behind
from signals.models import Signal
from tests.api.factories import World
from tests.api.test_problems import problem

pytestmark = pytest.mark.django_db


class Backlog:
    """An order that has been due for longer than the machine should need, until it was read so
    often. reads: how often."""

    def __init__(self, world: World) -> None:
        self.reads, self.ends_after = 0, 0
        due = timezone.now() - timedelta(seconds=10 * BEHIND_SECONDS)
        Order.objects.filter(pk=world.pending.pk).update(due_at=due)

    def read(self, is_behind: Callable[[], bool]) -> bool:
        self.reads += 1
        if self.reads == self.ends_after:
            Order.objects.update(due_at=None)
        return is_behind()


@pytest.fixture
def backlog(world: World, monkeypatch: pytest.MonkeyPatch) -> Backlog:
    monkeypatch.setattr(publication_pace, "STEP_SECONDS", 0.0)
    found = Backlog(world)
    monkeypatch.setattr(publication_pace, "is_behind", partial(found.read, is_behind))
    return found


def publish(world: World, **fields: Any) -> Any:
    fields = {"feed": world.feed.slug, **fields}
    return world.client("alice").post("/api/v1/signals/?publish=true", fields, format="json")


def publish_trade(world: World) -> None:
    """Publish a new trade, which is stored once and published."""
    response = publish(world, currency_pair="EUR/USD", direction="BUY", external_id="new")
    assert response.status_code == 201, response.content
    assert [one.is_published for one in Signal.objects.filter(external_id="new")] == [True]


def test_new_trade_waits_until_due_orders_have_gone(world: World, backlog: Backlog) -> None:
    backlog.ends_after = 5
    publish_trade(world)
    assert backlog.reads == 5, "it went on before the orders had gone"


def test_new_trade_waits_no_longer_than_it_may(
    world: World, backlog: Backlog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publication_pace, "MOST_SECONDS", 0.0)
    publish_trade(world)


def test_new_trade_goes_on_when_others_wait_already(world: World, backlog: Backlog) -> None:
    places = publication_pace._places
    assert places.acquire(blocking=False)
    assert places.acquire(blocking=False)
    try:
        publish_trade(world)
    finally:
        places.release()
        places.release()


def test_close_never_waits_for_due_orders(world: World, backlog: Backlog) -> None:
    trade = Signal.objects.filter(feed=world.feed, published_at__isnull=False).first()
    response = publish(world, action="CLOSE", refers_to=(trade or world.published).pk)
    assert response.status_code == 201, response.content
    assert backlog.reads == 0


def test_refused_trade_does_not_wait(world: World, backlog: Backlog) -> None:
    response = world.client("bob").post(f"/api/v1/signals/{world.signal.pk}/publish/")
    problem(response, 404, "NOT_FOUND")
    assert backlog.reads == 0
