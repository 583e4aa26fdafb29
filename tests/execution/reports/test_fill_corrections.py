"""A broker corrects an execution's quantity: order, position and broker agree afterwards."""

from dataclasses import replace
from decimal import Decimal as D
from itertools import permutations

import pytest
from django.db import transaction

from brokers.types import CloseCause, OrderReport
from common.db.sql import rows
from connections.models import ExecutionConnection
from execution.models import DriftItem, Fill, Order
from execution.reconciliation.reconcile import reconcile
from execution.runtime import trading_runtime
from execution.services import close_position
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.sampling import chosen, exhaustive

pytestmark = pytest.mark.usefixtures("inline_commits")


@pytest.fixture
def entry(alice: ExecutionConnection, feed: Feed) -> Order:
    """An order for 100 in flight, without reports."""
    factories.signal(feed)
    factories.claim_all()
    return Order.objects.get()


def corrected(report: OrderReport, quantity: int, revision: int = 1) -> OrderReport:
    fill = replace(report.fills[0], quantity=D(quantity), revision=revision)
    return replace(report, fills=(fill,))


def stopped(entry: Order, quantity: int, fill_id: str) -> OrderReport:
    report = factories.fill_report(entry, quantity, fill_id, price="1.09000", broker_order_id="X1")
    return replace(report, close_cause=CloseCause.STOP_LOSS)


def position() -> ExecutionPosition:
    return ExecutionPosition.objects.get()


def agree() -> bool:
    """Return whether every stored total is the sum of its fills."""
    found = rows(
        "SELECT p.quantity, p.opened_quantity, coalesce(sum(f.quantity) FILTER"
        " (WHERE o.position_id IS NULL), 0) AS came, coalesce(sum(f.quantity) FILTER"
        " (WHERE o.position_id IS NOT NULL), 0) AS went FROM positions_executionposition p"
        " JOIN execution_order o ON o.signal_id = p.signal_id"
        " JOIN execution_fill f ON f.order_id = o.id GROUP BY p.id"
    )
    return all((r.opened_quantity, r.quantity) == (r.came, r.came - r.went) for r in found) and all(
        order.filled_quantity == sum(fill.quantity for fill in order.fills.all())
        for order in Order.objects.all()
    )


def test_smaller_entry_fill_shrinks_the_position(entry: Order) -> None:
    report = factories.fill_report(entry, 100, "e1")
    factories.apply(report)
    factories.apply(corrected(report, 90), corrected(report, 90), report)
    entry.refresh_from_db()
    assert (entry.status, entry.filled_quantity, Fill.objects.get().quantity) == ("FILLED", 90, 90)
    assert (position().quantity, position().opened_quantity) == (90, 90)
    assert factories.log_codes(entry.pk)[-1] == ("FILL_CORRECTED", "FILLED")
    assert agree()
    assert not DriftItem.objects.exists()


def test_larger_entry_fill_grows_the_position(entry: Order) -> None:
    report = factories.fill_report(entry, 60, "e1")
    factories.apply(report)
    factories.apply(corrected(report, 70))
    assert (position().quantity, factories.order(leg="entry").status) == (70, "PARTIALLY_FILLED")
    factories.apply(factories.fill_report(entry, 30, "e2"))
    assert (position().quantity, factories.order(leg="entry").status) == (100, "FILLED")
    assert agree()


def test_fill_after_the_correction_of_a_full_order_counts(entry: Order) -> None:
    report = factories.fill_report(entry, 100, "e1")
    factories.apply(report)
    factories.apply(corrected(report, 80))
    factories.apply(factories.fill_report(entry, 10, "e2"))
    assert (position().quantity, factories.order(leg="entry").status) == (90, "FILLED")
    assert agree()
    assert not DriftItem.objects.exists()


@pytest.mark.parametrize("every", [7, exhaustive(1)])
def test_fills_and_corrections_in_any_order_have_one_result(entry: Order, every: int) -> None:
    first, other = factories.fill_report(entry, 60, "e1"), factories.fill_report(entry, 40, "e2")
    reports = (first, other, corrected(first, 50), corrected(other, 30, 2), corrected(other, 20))
    for one in chosen(permutations(reports), every=every):
        with transaction.atomic():
            for report in one:
                factories.apply(report)
            assert (position().quantity, position().opened_quantity) == (80, 80)
            assert agree()
            assert not DriftItem.objects.exists()
            transaction.set_rollback(True)
        with transaction.atomic():
            factories.apply(*one)
            assert position().quantity == 80
            assert agree()
            transaction.set_rollback(True)


def test_earlier_cumulative_quantity_shrinks_with_the_correction(entry: Order) -> None:
    report = factories.fill_report(entry, 60, "e1")
    factories.apply(factories.fill_report(entry, 80, "", inferred=True), report)
    factories.apply(corrected(report, 50))
    assert (position().quantity, factories.order(leg="entry").inferred_quantity) == (70, 20)
    assert agree()


def test_profit_of_the_closed_part_stays(entry: Order) -> None:
    report = factories.fill_report(entry, 100, "e1")
    factories.apply(report, stopped(entry, 40, "x1"))
    factories.apply(corrected(report, 90))
    assert (position().quantity, position().realized_pnl) == (50, D("-0.4"))
    assert agree()


def test_smaller_exit_leaves_the_remainder_open_and_guarded(entry: Order) -> None:
    factories.apply(factories.fill_report(entry, 100, "e1"))
    report = stopped(entry, 100, "x1")
    factories.apply(report)
    assert position().closed_at is not None
    factories.apply(corrected(report, 90), report)
    now = position()
    assert (now.quantity, now.closed_at, now.close_reason) == (10, None, "")
    exit_ = factories.order(leg="sl")
    assert (exit_.status, exit_.quantity, exit_.filled_quantity) == ("FILLED", 90, 90)
    factories.apply(stopped(entry, 10, "x2"))  # of the same order at the broker
    assert (position().quantity, position().close_reason) == (0, "sl")
    assert agree()
    assert not DriftItem.objects.exists()


def test_broker_exit_and_its_correction_in_one_flush(entry: Order) -> None:
    report = stopped(entry, 40, "x1")
    factories.apply(factories.fill_report(entry, 100, "e1"), report, corrected(report, 30))
    exit_ = factories.order(leg="sl")
    assert (exit_.status, exit_.quantity, position().quantity) == ("FILLED", 30, 70)
    factories.apply(corrected(report, 50, 2))
    exit_.refresh_from_db()
    assert (exit_.status, exit_.quantity, position().quantity) == ("FILLED", 50, 50)
    assert agree()
    assert not DriftItem.objects.exists()


def test_reservation_never_exceeds_the_remaining_quantity(entry: Order) -> None:
    report = factories.fill_report(entry, 100, "e1")
    factories.apply(report)
    close_position(position().pk)
    assert position().reserved == 100
    factories.apply(corrected(report, 90))
    assert (position().quantity, position().reserved) == (90, 90)


def test_correction_to_zero_is_left_to_a_person(entry: Order) -> None:
    report = factories.fill_report(entry, 100, "e1")
    factories.apply(report)
    factories.apply(corrected(report, 0))
    assert DriftItem.objects.get().kind == "REPORT_PROCESSING_FAILED"
    assert (position().quantity, factories.order().filled_quantity) == (100, 100)


@pytest.mark.parametrize("together", [False, True])
def test_execution_corrected_to_nothing_is_none_in_any_order(entry: Order, together: bool) -> None:
    busted, other = factories.fill_report(entry, 60, "e1"), factories.fill_report(entry, 40, "e2")
    reports = (busted, corrected(busted, 0, 2), corrected(busted, 50), other)
    for one in permutations(reports):
        if one.index(other) > one.index(reports[1]) > min(map(one.index, (busted, reports[2]))):
            continue  # nothing is left before the other: a person decides
        with transaction.atomic():
            for batch in [one] if together else [(report,) for report in one]:
                factories.apply(*batch)
                factories.apply(*batch)
            assert [fill.broker_fill_id for fill in Fill.objects.all()] == ["e2"]
            assert (position().quantity, position().opened_quantity) == (40, 40)
            assert agree()
            assert not DriftItem.objects.exists()
            transaction.set_rollback(True)


@pytest.mark.parametrize("reversed_", [False, True])
def test_lone_execution_after_its_correction_to_nothing_is_none(
    entry: Order, reversed_: bool
) -> None:
    report = factories.fill_report(entry, 100, "e1")
    both = (corrected(report, 0), report)
    factories.apply(*(both[::-1] if reversed_ else both))
    factories.apply(report)
    assert not Fill.objects.exists()
    assert not DriftItem.objects.exists()
    factories.apply(corrected(report, 100, 2))  # the broker takes it back
    assert (position().quantity, factories.order().status) == (100, "FILLED")
    assert agree()


def test_broker_exit_after_its_correction_to_nothing_closes_nothing(entry: Order) -> None:
    factories.apply(factories.fill_report(entry, 100, "e1"))
    report = stopped(entry, 40, "x1")
    for _ in range(2):
        factories.apply(corrected(report, 0))
        factories.apply(report)
    assert (position().quantity, Order.objects.count()) == (100, 1)
    factories.apply(replace(stopped(entry, 30, "x2"), broker_order_id="X2"))
    assert position().quantity == 70
    assert agree()
    assert not DriftItem.objects.exists()


def test_correction_above_the_ordered_quantity_is_left_to_a_person(entry: Order) -> None:
    report = factories.fill_report(entry, 100, "e1")
    factories.apply(report)
    factories.apply(corrected(report, 110))
    assert DriftItem.objects.get().kind == "REPORT_PROCESSING_FAILED"
    assert position().quantity == 100
    assert agree()


def test_unreported_correction_is_found_by_reconciliation(
    alice: ExecutionConnection,
    feed: Feed,
    runtime: trading_runtime.TradingRuntime,
    broker: FakeBroker,
) -> None:
    factories.filled(factories.signal(feed))
    factories.pass_time(1)
    ticket = broker.tickets[0]
    ticket.fills[0] = replace(ticket.fills[0], quantity=D(90), revision=1)
    ticket.held = ticket.filled = D(90)
    assert reconcile() == 0
    assert (position().quantity, position().opened_quantity) == (90, 90)
    factories.pass_time(1)
    assert (reconcile(), DriftItem.objects.count()) == (0, 0)
    assert agree()
