"""Any permutation, repetition and batching of the same reports ends in the same rows."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D
from itertools import pairwise
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brokers.types import CloseCause, OrderReport, ReportKind
from common.clocks import market_now
from common.db.sql import rows
from connections.models import ExecutionConnection, Instrument
from execution.exits.orders import ExitRequest, open_exits
from execution.models import DriftItem, Order
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.examples import examples
from tests.execution import factories

pytestmark = pytest.mark.django_db
NOON = market_now()
Story = list[OrderReport]

ORDERS = """
SELECT leg, status, filled_quantity, round(avg_fill_price, 12) AS average, commission,
  broker_order_id, attempt, round(slippage_pips, 9) AS slippage, quantity, done_at IS NULL AS live
FROM execution_order ORDER BY leg
"""
FILLS = "SELECT broker_fill_id, quantity, price FROM execution_fill ORDER BY broker_fill_id"
POSITIONS = """
SELECT quantity, reserved, opened_quantity, round(entry_price, 12) AS entry,
  round(realized_pnl, 9) AS pnl, opened_at, closed_at, close_reason, tp_number, tp
FROM positions_executionposition
"""


def snapshot() -> list[list[tuple[Any, ...]]]:
    return [[tuple(row) for row in rows(sql)] for sql in (ORDERS, FILLS, POSITIONS)]


def at(of: Order, quantity: int, fill_id: str, price: str, minute: int) -> OrderReport:
    return factories.fill_report(
        of, quantity, fill_id, price=price, time=NOON + timedelta(minutes=minute)
    )


@pytest.fixture
def entry(alice: ExecutionConnection, feed: Feed) -> Order:
    """60 of 100 are filled; a target and a close of 30 each are on their way."""
    factories.signal(feed, [("1.12", "0.5"), ("1.13", "0.5")])
    factories.claim_all()
    entry = Order.objects.get()
    factories.apply(at(entry, 60, "e1", "1.10000", 2))
    position = ExecutionPosition.objects.get()
    open_exits([ExitRequest(position.pk, "tp-1", D("0.5"))])
    open_exits([ExitRequest(position.pk, "close")])
    factories.claim_all()
    return entry


def resting(entry: Order) -> Story:
    """The entry fills in parts and is cancelled before all of it is."""
    return [
        factories.report(entry, ReportKind.ACCEPTED),
        at(entry, 60, "e1", "1.10000", 2),
        at(entry, 10, "e2", "1.10030", 1),
        at(entry, 10, "e3", "1.09970", 3),
        factories.report(entry, ReportKind.CANCELLED),
    ]


def leaving(entry: Order) -> Story:
    """The target fills in two parts, the close in one and ends."""
    target, close = Order.objects.get(leg="tp-1"), Order.objects.get(leg="close-1")
    return [
        at(target, 10, "t1", "1.12000", 5),
        at(target, 20, "t2", "1.12010", 6),
        factories.report(close, ReportKind.ACCEPTED),
        at(close, 20, "c1", "1.11000", 9),
        factories.report(close, ReportKind.EXPIRED),
    ]


def closed_by_its_owner(entry: Order) -> Story:
    """The remainder is closed at the broker, in two parts of one order."""
    external = [at(entry, 20, "x1", "1.11500", 7), at(entry, 10, "x2", "1.11510", 8)]
    return [
        replace(report, broker_order_id="X", close_cause=CloseCause.EXTERNAL) for report in external
    ]


def whole(entry: Order) -> Story:
    """All reports: 80 are opened, and 80 closed in three ways."""
    return resting(entry) + leaving(entry) + closed_by_its_owner(entry)


def apply_batches(batches: list[Story]) -> None:
    """Apply the batches; repeat deferred reports, as a broker's stream does."""
    deferred: Story = []
    for batch in batches:
        deferred = factories.apply(*deferred, *batch)
    for _ in range(4):
        deferred = factories.apply(*deferred) if deferred else []
    assert not deferred


def outcome(batches: list[Story]) -> list[list[tuple[Any, ...]]]:
    """Return the rows after the batches, and roll back."""
    with transaction.atomic():
        apply_batches(batches)
        assert not DriftItem.objects.exists()
        seen = snapshot()
        transaction.set_rollback(True)
    return seen


@pytest.mark.draws
@pytest.mark.parametrize("story", [resting, leaving, whole])
def test_any_order_and_repetition_ends_in_the_same_rows(
    entry: Order, story: Callable[[Order], Story]
) -> None:
    check_any_order(story(entry))


@pytest.mark.draws
def test_orders_of_one_exit_end_in_the_same_rows_in_any_order(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """A target's exit of 50 in three orders; a late fill completes one that was cancelled."""
    factories.filled(factories.signal(feed, [("1.12", "0.5"), ("1.13", "0.5")]))
    Instrument.objects.update(quantity_max=D(20))
    open_exits([ExitRequest(ExecutionPosition.objects.get().pk, "tp-1", D("0.5"))])
    factories.claim_all()
    first, second, third = Order.objects.exits().order_by("pk")
    check_any_order(
        [
            at(first, 10, "t1", "1.12000", 5),
            at(first, 10, "t2", "1.12010", 6),
            at(second, 10, "t3", "1.12000", 7),
            factories.report(second, ReportKind.CANCELLED),
            at(second, 10, "t4", "1.12000", 8),
            at(third, 10, "t5", "1.12000", 9),
        ]
    )


def check_any_order(reports: Story) -> None:
    expected = outcome([reports])

    @settings(max_examples=examples(25),
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(
        order=st.permutations(reports),
        again=st.lists(st.sampled_from(reports), max_size=6),
        cuts=st.lists(st.integers(0, 12), max_size=4),
    )
    def whichever(order: Story, again: Story, cuts: list[int]) -> None:
        every = order + again
        ends = sorted({0, *cuts, len(every)})
        batches = [every[a:b] for a, b in pairwise(ends)]
        assert outcome(batches) == expected

    whichever()


def test_whole_history_has_the_expected_rows(entry: Order) -> None:
    apply_batches([whole(entry)])
    orders, fills, positions = snapshot()
    assert [(row[0], row[1], row[2]) for row in orders] == [
        ("close-1", "EXPIRED", 20),
        ("entry", "CANCELLED", 80),
        ("external-1", "FILLED", 30),
        ("tp-1", "FILLED", 30),
    ]
    assert len(fills) == 8
    # 10 * 1.12 + 20 * 1.1201 + 20 * 1.11 + 20 * 1.115 + 10 * 1.1151 - 80 * 1.1
    assert positions == [
        (0, 0, 80, D("1.1"), D("1.2530"), NOON + timedelta(minutes=1), NOON + timedelta(minutes=9),
         "signal", 2, D("1.13"))
    ]  # fmt: skip


def test_report_repeated_fifty_times_in_one_flush_counts_once(entry: Order) -> None:
    reports = at(entry, 40, "e2", "1.10000", 3)
    apply_batches([[reports] * 50])
    assert Order.objects.get(leg="entry").filled_quantity == 100
    assert ExecutionPosition.objects.get().opened_quantity == 100
