"""Limits and decision providers with entries in slices: the whole is judged once, at its start."""

from decimal import Decimal as D
from typing import Any

import pytest

from common.db.sql import run
from connections.models import ExecutionConnection
from execution.models import EntryDecision, ExecutionLog, Order, SlicePlan
from execution.submission.claim import claim
from execution.submission.flow_limits import LEAST_ENTRIES
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.decisions import answered, provider_of
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.submission.test_market_limits import PRESET
from tests.execution.submission.test_slices import TWAP, next_slice, refresh, seen

pytestmark = pytest.mark.usefixtures("inline_commits")


def account(feed: Feed, **preset: Any) -> ExecutionConnection:
    """It enters 90 EUR/USD, a notional of 99 USD, in three slices of 30."""
    fields = {f"preset_{name}": value for name, value in preset.items()}
    return factories.account(
        feed, preset_fixed_quantity=D(90), snapshot_position_mode="NETTING", **fields
    )


def enter(feed: Feed, **fields: Any) -> Order:
    signal = factories.signal(feed, **fields)
    factories.fill_all()
    return Order.objects.get(signal=signal, leg="entry")


@pytest.mark.parametrize(
    ("maximum", "second", "third"),
    [(1, ("DENIED", "MAX_ORDERS_PER_MINUTE", D(30)), 60), (2, ("FILLED", "", D(30)), 30)],
)
def test_each_slice_is_an_order_of_its_minute(
    feed: Feed, broker: FakeBroker, maximum: int, second: tuple[str, str, D], third: int
) -> None:
    """The second is due 40 s after the first, the third 80 s after it."""
    account(feed, max_orders_per_minute=maximum)
    enter(feed, **{**TWAP, "duration_seconds": 120})
    for _ in range(2):
        factories.pass_time(40)
        refresh()
        factories.fill_all()
    assert seen()[1][1:] == second
    assert seen()[2][1:] == ("FILLED", "", D(third))  # it sends what the second did not


def test_slices_of_a_bundle_count_in_its_minute(feed: Feed, broker: FakeBroker) -> None:
    account(feed, max_orders_per_minute=3)
    for _ in range(2):
        enter(feed, **{**TWAP, "duration_seconds": 180})
    factories.pass_time(40)
    run("UPDATE execution_order SET due_at = clock_timestamp() WHERE leg = 'entry-2'")
    refresh()
    factories.fill_all()
    slices = Order.objects.filter(leg="entry-2").order_by("id")
    assert [order.reason for order in slices] == ["", "MAX_ORDERS_PER_MINUTE"]


@pytest.mark.parametrize(
    ("limit", "edge", "code"),
    [
        ("max_daily_volume", "180", "DAILY_VOLUME"),
        ("max_daily_notional", "198", "DAILY_NOTIONAL"),
        ("max_currency_exposure_percent", "1.98", "CURRENCY_EXPOSURE"),
    ],
)
@pytest.mark.parametrize("below", [D(0), D("0.01")])
def test_planned_slices_count_in_sums(
    feed: Feed, broker: FakeBroker, limit: str, edge: str, code: str, below: D
) -> None:
    account(feed, **{limit: D(edge) - below})
    enter(feed, **TWAP)
    later = enter(feed)
    assert (later.status, later.reason) == (("DENIED", code) if below else ("FILLED", ""))
    next_slice()
    next_slice()
    plan = SlicePlan.objects.get()
    position = ExecutionPosition.objects.get(signal=plan.order.signal)
    assert position.quantity == 90  # slices are not judged again


@pytest.mark.parametrize(("quantity", "reason"), [(90, ""), (100, "SIZE_UNUSUAL")])
def test_usual_size_is_of_whole_entries(
    feed: Feed, broker: FakeBroker, quantity: int, reason: str
) -> None:
    account(feed, max_size_multiple=D(1))
    for _ in range(LEAST_ENTRIES):
        enter(feed, **TWAP)
    next_slice()
    run(f"UPDATE {PRESET} SET fixed_quantity = %s", (quantity,))
    assert enter(feed).reason == reason


def test_provider_is_asked_about_the_whole_entry_only(feed: Feed, broker: FakeBroker) -> None:
    """90 × 0.5 = 45, in steps of 10: 40. An answer is too old after ten seconds."""
    provider = provider_of()
    account(feed, decision_provider=provider)
    order = enter(feed, **TWAP)
    assert (order.status, order.reason) == ("PENDING", "DECISION_AWAITED")
    assert not SlicePlan.objects.exists()
    answered(order, provider, "0.5")
    run("UPDATE execution_order SET due_at = clock_timestamp()")
    refresh()
    factories.fill_all()
    order.refresh_from_db()
    lines = ExecutionLog.objects.filter(order_id=order.pk).values_list("detail", flat=True)
    assert "10 of 40 in 3 slices, at 1.1; scaled by 0.5" in lines
    run("UPDATE execution_entrydecision SET asked_at = asked_at - interval '1 minute'")
    factories.pass_time(20)
    refresh()
    claimed = claim(factories.pending(), worker_id="process-1")
    assert claimed.undecided == []
    assert [(status, quantity) for _, status, _, quantity in seen()] == [
        ("FILLED", D(10)), ("SUBMITTING", D(10)), ("PENDING", D(20)),
    ]  # fmt: skip
    assert EntryDecision.objects.get().order_id == order.pk
