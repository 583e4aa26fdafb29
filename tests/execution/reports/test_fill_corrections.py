"""A broker corrects how much an execution was: order, position and broker agree again."""

from dataclasses import replace
from decimal import Decimal as D
from itertools import permutations

import pytest
from django.db import transaction

from brokers.types import CloseCause, OrderReport
from common.sql import rows
from connections.models import ExecutionConnection
from execution.models import DriftItem, Fill, Order
from execution.reconciliation.reconcile import reconcile
from execution.runtime import trading_runtime
from execution.services import close_position
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def entry(alice: ExecutionConnection, feed: Feed) -> Order:
    """100, on its way to the broker, nothing told yet."""
    factories.signal(feed)
    factories.claim_all()
    return Order.objects.get()


def corrected(told: OrderReport, quantity: int, revision: int = 1) -> OrderReport:
    fill = replace(told.fills[0], quantity=D(quantity), revision=revision)
    return replace(told, fills=(fill,))


def stopped(entry: Order, quantity: int, fill_id: str) -> OrderReport:
    told = factories.fill_report(entry, quantity, fill_id, price="1.09000", broker_order_id="X1")
    return replace(told, close_cause=CloseCause.STOP_LOSS)


def position() -> ExecutionPosition:
    return ExecutionPosition.objects.get()


def agree() -> bool:
    """Whether every sum that is kept is that of the fills."""
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


def test_a_smaller_entry_makes_the_position_smaller(entry: Order) -> None:
    told = factories.fill_report(entry, 100, "e1")
    factories.apply(told)
    factories.apply(corrected(told, 90), corrected(told, 90), told)
    entry.refresh_from_db()
    assert (entry.status, entry.filled_quantity, Fill.objects.get().quantity) == ("FILLED", 90, 90)
    assert (position().quantity, position().opened_quantity) == (90, 90)
    assert factories.log_codes(entry.pk)[-1] == ("FILL_CORRECTED", "FILLED")
    assert agree()
    assert not DriftItem.objects.exists()


def test_a_larger_entry_makes_the_position_larger(entry: Order) -> None:
    told = factories.fill_report(entry, 60, "e1")
    factories.apply(told)
    factories.apply(corrected(told, 70))
    assert (position().quantity, factories.order(leg="entry").status) == (70, "PARTIALLY_FILLED")
    factories.apply(factories.fill_report(entry, 30, "e2"))
    assert (position().quantity, factories.order(leg="entry").status) == (100, "FILLED")
    assert agree()


def test_what_fills_after_a_full_order_was_corrected_still_counts(entry: Order) -> None:
    told = factories.fill_report(entry, 100, "e1")
    factories.apply(told)
    factories.apply(corrected(told, 80))
    factories.apply(factories.fill_report(entry, 10, "e2"))
    assert (position().quantity, factories.order(leg="entry").status) == (90, "FILLED")
    assert agree()
    assert not DriftItem.objects.exists()


def test_whichever_of_the_two_is_told_first(entry: Order) -> None:
    first, other = factories.fill_report(entry, 60, "e1"), factories.fill_report(entry, 40, "e2")
    said = (first, other, corrected(first, 50), corrected(other, 30, 2), corrected(other, 20))
    for one in permutations(said):
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


def test_a_sum_that_was_told_before_shrinks_with_the_correction(entry: Order) -> None:
    told = factories.fill_report(entry, 60, "e1")
    factories.apply(factories.fill_report(entry, 80, "", inferred=True), told)
    factories.apply(corrected(told, 50))
    assert (position().quantity, factories.order(leg="entry").inferred_quantity) == (70, 20)
    assert agree()


def test_the_profit_of_what_is_closed_stays(entry: Order) -> None:
    told = factories.fill_report(entry, 100, "e1")
    factories.apply(told, stopped(entry, 40, "x1"))
    factories.apply(corrected(told, 90))
    assert (position().quantity, position().realized_pnl) == (50, D("-0.4"))
    assert agree()


def test_a_smaller_exit_leaves_the_rest_open_and_guarded(entry: Order) -> None:
    factories.apply(factories.fill_report(entry, 100, "e1"))
    told = stopped(entry, 100, "x1")
    factories.apply(told)
    assert position().closed_at is not None
    factories.apply(corrected(told, 90), told)
    now = position()
    assert (now.quantity, now.closed_at, now.close_reason) == (10, None, "")
    exit_ = factories.order(leg="sl")
    assert (exit_.status, exit_.quantity, exit_.filled_quantity) == ("FILLED", 90, 90)
    factories.apply(stopped(entry, 10, "x2"))  # of the same order at the broker
    assert (position().quantity, position().close_reason) == (0, "sl")
    assert agree()
    assert not DriftItem.objects.exists()


def test_an_exit_of_the_brokers_and_its_correction_in_one_flush(entry: Order) -> None:
    told = stopped(entry, 40, "x1")
    factories.apply(factories.fill_report(entry, 100, "e1"), told, corrected(told, 30))
    exit_ = factories.order(leg="sl")
    assert (exit_.status, exit_.quantity, position().quantity) == ("FILLED", 30, 70)
    factories.apply(corrected(told, 50, 2))
    exit_.refresh_from_db()
    assert (exit_.status, exit_.quantity, position().quantity) == ("FILLED", 50, 50)
    assert agree()
    assert not DriftItem.objects.exists()


def test_what_an_exit_has_reserved_is_never_more_than_what_is_left(entry: Order) -> None:
    told = factories.fill_report(entry, 100, "e1")
    factories.apply(told)
    close_position(position().pk)
    assert position().reserved == 100
    factories.apply(corrected(told, 90))
    assert (position().quantity, position().reserved) == (90, 90)


def test_what_takes_back_all_of_an_order_is_left_to_people(entry: Order) -> None:
    told = factories.fill_report(entry, 100, "e1")
    factories.apply(told)
    factories.apply(corrected(told, 0))
    assert DriftItem.objects.get().kind == "REPORT_PROCESSING_FAILED"
    assert (position().quantity, factories.order().filled_quantity) == (100, 100)


def test_what_is_more_than_was_ordered_is_left_to_people(entry: Order) -> None:
    told = factories.fill_report(entry, 100, "e1")
    factories.apply(told)
    factories.apply(corrected(told, 110))
    assert DriftItem.objects.get().kind == "REPORT_PROCESSING_FAILED"
    assert position().quantity == 100
    assert agree()


def test_a_correction_that_nobody_told_is_found_by_the_comparison(
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
