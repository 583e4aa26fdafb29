"""Entries in slices on the order's page, in the API and in cancel-all."""

from decimal import Decimal as D
from typing import Any

import pytest
from django.test import Client

from connections.models import ExecutionConnection
from connections.services import HaltTarget
from execution.models import Order
from execution.scoped import actions as scoped_actions
from signals.models import Feed
from tests.console import seed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.submission.test_slices import TWAP, seen
from tests.execution.submission.test_vwap import HALVES, VWAP, record_days
from tests.html import html_of

pytestmark = pytest.mark.usefixtures("inline_commits")


@pytest.fixture
def account(feed: Feed, broker: FakeBroker) -> ExecutionConnection:
    return factories.account(feed, preset_fixed_quantity=D(90), snapshot_position_mode="NETTING")


def test_cancel_all_counts_each_slice_once(feed: Feed, account: ExecutionConnection) -> None:
    for _ in range(2):
        factories.signal(feed, **TWAP)
    factories.fill_all()
    waiting = list(Order.objects.filter(status="PENDING").order_by("pk"))
    assert len(waiting) == 4
    requested, found = scoped_actions.cancel_all(HaltTarget("ALL"), by=None)
    assert (requested, found) == ([order.pk for order in waiting], 4)
    assert {reason for leg, _, reason, _ in seen() if leg != "entry"} == {"OWNER_CANCELLED"}


@pytest.mark.parametrize(
    ("fields", "has_volume", "profile", "days"),
    [
        (TWAP, True, "", None),
        (VWAP, True, "quotes at this time of 2 days", 2),
        (VWAP, False, "not known: equal parts, as TWAP", 0),
    ],
)
def test_page_and_api_show_the_plan_of_each_of_its_orders(
    client: Client, feed: Feed, account: ExecutionConnection, fields: dict[str, Any],
    has_volume: bool, profile: str, days: int | None,
) -> None:  # fmt: skip
    if has_volume:
        record_days(account, {1: HALVES, 2: HALVES})
    factories.signal(feed, **fields)
    factories.fill_all()
    client.force_login(seed.operator())
    for order in Order.objects.entries():
        shown = html_of(client.get(f"/admin/execution/order/{order.pk}/"))
        assert "Entry in slices" in shown
        assert ("Volume profile" in shown, profile in shown) == (bool(profile), True)
        plan = client.get(f"/api/v1/orders/{order.pk}/").json()["slice_plan"]
        assert (plan["execution_style"], plan["profile_days"]) == (fields["execution_style"], days)
        assert (plan["state"], plan["planned"], len(plan["slices"])) == (
            "RUNNING", "90", fields["slice_count"],
        )  # fmt: skip


def test_order_that_is_no_slice_has_no_plan(
    client: Client, feed: Feed, account: ExecutionConnection
) -> None:
    factories.filled(factories.signal(feed))
    order = Order.objects.get()
    client.force_login(seed.operator())
    assert "Entry in slices" not in html_of(client.get(f"/admin/execution/order/{order.pk}/"))
    assert client.get(f"/api/v1/orders/{order.pk}/").json()["slice_plan"] is None


def test_page_shows_the_rest_and_what_ended_the_entry(
    client: Client, feed: Feed, account: ExecutionConnection
) -> None:
    factories.signal(feed, **TWAP, at_end="MARKET")
    factories.fill_all()
    order = Order.objects.get(leg="entry")
    client.force_login(seed.operator())
    page = f"/admin/execution/order/{order.pk}/"
    shown = html_of(client.get(page))
    assert "the rest" in shown
    asked = html_of(client.get(f"{page}cancel/"))
    assert "Ends the entry: no more of its slices are sent." in asked
    assert "What has filled, 30 of 90, stays open." in asked
    client.post(f"{page}cancel/", {"confirmed": "1"})
    assert {status for _, status, _, _ in seen()} == {"FILLED", "CANCELLED"}
    ended = html_of(client.get(page))
    assert "Ended" in ended
    assert "OWNER_CANCELLED" in ended
