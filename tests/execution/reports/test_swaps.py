"""Swap comes with the broker's close: into the net result, once, however often it is reported."""

import json
from dataclasses import replace
from decimal import Decimal as D
from itertools import permutations
from typing import Any

import pytest
from django.db import transaction
from rest_framework.test import APIClient

from analytics.models import AnalyticsDaily
from analytics.services import compute_changed
from brokers.types import CloseCause, OrderReport
from connections.models import ExecutionConnection
from execution.models import Fill, Order
from execution.runtime.broker_queries import apply_new_fills
from positions.closed_results import ClosedRequest, closed_sums
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from users.services import create_api_key

pytestmark = pytest.mark.usefixtures("inline_commits")


@pytest.fixture
def entry(alice: ExecutionConnection, feed: Feed) -> Order:
    """A filled entry for 100."""
    factories.signal(feed)
    factories.claim_all()
    made = Order.objects.get()
    factories.apply(factories.fill_report(made, 100, "e1"))
    return made


def closed(
    entry: Order, quantity: int, fill_id: str, swap: str = "0", revision: int = 0
) -> OrderReport:
    report = factories.fill_report(
        entry, quantity, fill_id, price="1.10000", broker_order_id=f"X{fill_id}"
    )
    fill = replace(report.fills[0], swap=D(swap), commission=D("0.5"), revision=revision)
    return replace(report, fills=(fill,), close_cause=CloseCause.STOP_LOSS, levels=None)


def position() -> ExecutionPosition:
    return ExecutionPosition.objects.get()


def booked() -> tuple[Any, ...]:
    found = position()
    return found.swap, found.net_result, sum(fill.swap for fill in Fill.objects.all())


def test_swap_of_the_close_is_part_of_the_net_result_and_of_the_event(entry: Order) -> None:
    factories.apply(closed(entry, 100, "x1", "-2.71"))
    assert booked() == (D("-2.71"), D("-3.21"), D("-2.71"))
    (event,) = factories.events("position.closed")
    assert (event["swap"].rstrip("0"), event["commission"].rstrip("0")) == ("-2.71", "0.5")
    sums = closed_sums([ClosedRequest(entry.connection_id, position().opened_at, None)])
    assert (sums[0].net, sums[0].streak) == (D("-3.21"), 1)  # loss limits count it


def test_swap_reported_twice_or_again_is_booked_once(entry: Order) -> None:
    first = closed(entry, 100, "x1", "-2.71")
    factories.apply(first, first)
    factories.apply(first)
    assert booked() == (D("-2.71"), D("-3.21"), D("-2.71"))
    assert len(factories.events("position.closed")) == 1


def test_swap_that_comes_late_reaches_the_day_that_was_computed(entry: Order) -> None:
    factories.apply(closed(entry, 100, "x1"))
    compute_changed()
    assert AnalyticsDaily.objects.get().total_pnl == D("-0.5")
    factories.apply(closed(entry, 100, "x1", "-2.71"))  # the same deal, complete now
    assert booked() == (D("-2.71"), D("-3.21"), D("-2.71"))
    compute_changed(recent=0)
    day = AnalyticsDaily.objects.get()
    assert (day.swap, day.commission, day.total_pnl) == (D("-2.71"), D("0.5"), D("-3.21"))
    factories.apply(closed(entry, 100, "x1"))  # an older report without it changes nothing
    assert booked()[0] == D("-2.71")


def test_swap_that_the_list_of_fills_states_later_is_booked(entry: Order) -> None:
    factories.apply(closed(entry, 100, "x1"))
    for _ in range(2):
        apply_new_fills([closed(entry, 100, "x1", "-2.71")])
        assert booked() == (D("-2.71"), D("-3.21"), D("-2.71"))
    apply_new_fills([closed(entry, 100, "x1")])
    assert booked()[0] == D("-2.71")


def test_parts_add_up_in_any_order(entry: Order) -> None:
    parts = [closed(entry, 60, "x1", "-1.51"), closed(entry, 40, "x2", "0.30")]
    for first, second in permutations(parts):
        with transaction.atomic():
            factories.apply(first)
            assert position().swap == first.fills[0].swap
            factories.apply(second)
            assert (position().swap, position().quantity) == (D("-1.21"), 0)
            transaction.set_rollback(True)
    factories.apply(*parts)
    assert booked()[0] == D("-1.21")


def test_correction_replaces_the_swap_and_an_older_revision_does_not(entry: Order) -> None:
    factories.apply(closed(entry, 100, "x1", "-2.71"))
    factories.apply(closed(entry, 100, "x1", "-2.50", revision=2))
    assert booked()[0] == D("-2.50")
    factories.apply(closed(entry, 100, "x1", "-2.60", revision=1))
    assert booked()[0] == D("-2.50")
    factories.apply(closed(entry, 100, "x1", "0", revision=3))
    assert booked() == (D(0), D("-0.5"), D(0))


def test_voided_part_of_a_close_takes_its_swap_away(entry: Order) -> None:
    whole = closed(entry, 60, "x1", "-1.51")
    whole = replace(whole, fills=(*whole.fills, *closed(entry, 40, "x2", "0.30").fills))
    factories.apply(whole)
    assert (position().swap, position().quantity) == (D("-1.21"), 0)
    gone = replace(whole.fills[0], quantity=D(0), revision=1)
    factories.apply(replace(whole, fills=(gone,)))
    assert (position().swap, position().quantity) == (D("0.30"), 60)
    factories.apply(whole)  # reported again: what was voided is no fill
    assert position().swap == D("0.30")


def test_api_states_the_swap_of_position_and_fill(entry: Order) -> None:
    factories.apply(closed(entry, 100, "x1", "-2.71"))
    client = APIClient()
    owner = entry.connection.user
    assert owner is not None
    secret = create_api_key(owner, "test")[1]
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    found = json.loads(client.get(f"/api/v1/positions/{position().pk}/").content)
    assert D(found["swap"]) == D("-2.71")
