"""The market's averages of an entry in slices: stored when it has ended, and kept."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from analytics.orders.slices import SliceResult, slice_result
from common.clocks import market_now
from common.failpoints import AbandonedError, Failpoint, arm
from connections.models import DataConnection, ExecutionConnection
from execution.models import Order, SlicePlan
from execution.monitoring.slice_averages import store_slice_averages
from execution.services import cancel_order
from prices.models import PriceBar
from signals.models import Feed
from tests.execution import factories
from tests.execution.submission.test_slices import TWAP, next_slice, store_bar

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


@pytest.fixture
def account(alice: ExecutionConnection) -> ExecutionConnection:
    return alice


def result() -> SliceResult:
    found = slice_result(Order.objects.get(leg="entry"))
    assert found is not None
    return found


def move_back(by: timedelta) -> None:
    """Let the plan have run, and ended, so much earlier."""
    factories.force(
        "UPDATE execution_sliceplan SET starts_at = starts_at - %s, ends_at = ends_at - %s",
        (by, by),
    )
    factories.force("UPDATE execution_order SET done_at = done_at - %s", (by,))


@pytest.fixture
def ended(feed: Feed, account: ExecutionConnection) -> Iterator[SlicePlan]:
    """An entry of three slices that ended an hour ago."""
    factories.signal(feed, **TWAP)
    factories.fill_all()
    next_slice()
    next_slice()
    move_back(timedelta(hours=1))
    yield SlicePlan.objects.get()
    arm([])


def bars(account: ExecutionConnection, start: datetime, *mids: str) -> None:
    for number, mid in enumerate(mids):
        store_bar(account, start + number * MINUTE, mid)


def test_averages_are_stored_once_and_outlive_the_prices(
    ended: SlicePlan, account: ExecutionConnection
) -> None:
    bars(account, ended.starts_at, "1.10020")
    before = result()
    assert (before.market.is_final, before.market_average) == (False, D("1.1002"))
    assert store_slice_averages() == 1
    assert store_slice_averages() == 0
    PriceBar.objects.all().delete()  # a week later
    other = DataConnection.objects.create(name="other")
    ExecutionConnection.objects.update(data_connection=other)
    after = result()
    assert after.market.is_final
    assert (after.market_average, after.market_vwap) == (D("1.1002"), D("1.1002"))
    assert (after.against_market, after.against_vwap) == (D("-0.0002"), D("-0.0002"))


def test_process_that_dies_before_storing_leaves_it_to_the_next(
    ended: SlicePlan, account: ExecutionConnection
) -> None:
    bars(account, ended.starts_at, "1.10020")
    arm([Failpoint("slice_averages.read", "abandon")])
    with pytest.raises(AbandonedError):
        store_slice_averages()
    ended.refresh_from_db()
    assert ended.market_until is None
    arm([])
    assert store_slice_averages() == 1
    assert result().market_average == D("1.1002")


def test_nothing_is_stored_while_a_slice_may_still_be_sent(
    feed: Feed, account: ExecutionConnection
) -> None:
    factories.signal(feed, **TWAP)
    factories.fill_all()
    assert store_slice_averages() == 0
    market = result().market
    assert (market.is_final, market.minutes) == (False, 0)
    assert market.until <= market_now()
    assert market.text.startswith("So far, until ")
    assert "UTC. No prices of this time are known yet" in market.text


def test_plan_waits_until_its_last_minute_is_complete(
    feed: Feed, account: ExecutionConnection
) -> None:
    factories.signal(feed, **TWAP)
    factories.fill_all()
    order = Order.objects.get(leg="entry")
    cancel_order(order.pk)
    assert store_slice_averages() == 0  # its last quotes may still come
    move_back(MINUTE + timedelta(seconds=6))
    assert store_slice_averages() == 1


def test_entry_that_ended_early_counts_until_then(feed: Feed, account: ExecutionConnection) -> None:
    factories.signal(feed, **TWAP)
    factories.fill_all()
    cancel_order(Order.objects.get(leg="entry").pk)
    move_back(timedelta(hours=1))
    plan = SlicePlan.objects.get()
    bars(account, plan.starts_at, "1.10020")
    bars(account, plan.ends_at, "1.2")  # later than it ended
    assert store_slice_averages() == 1
    plan.refresh_from_db()
    done = Order.objects.latest("done_at").done_at
    assert plan.market_until == done
    assert plan.market_average == D("1.1002")


def test_plan_without_prices_says_so(ended: SlicePlan) -> None:
    assert store_slice_averages() == 1
    found = result()
    assert (found.market.is_final, found.market_average, found.against_vwap) == (True, None, None)
    assert "No prices of this time are known" in found.market.text


def test_plan_with_a_part_of_the_prices_says_so(
    ended: SlicePlan, account: ExecutionConnection
) -> None:
    SlicePlan.objects.update(starts_at=ended.starts_at - 9 * MINUTE)
    bars(account, ended.starts_at - 9 * MINUTE, "1.1", "1.1002")
    assert store_slice_averages() == 1
    market = result().market
    assert market.minutes == 2
    assert market.of_minutes >= 10
    assert f"Prices of 2 of {market.of_minutes} minutes are known." in market.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"market_average": 1},
        {"market_until": "2026-01-01T00:00Z"},
        {"market_until": "2026-01-01T00:00Z", "market_minutes": 1, "market_average": 1},
        {"market_until": "2026-01-01T00:00Z", "market_minutes": 0, "market_average": 1},
    ],
)
def test_database_refuses_half_a_result(ended: SlicePlan, wrong: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        SlicePlan.objects.update(**wrong)
