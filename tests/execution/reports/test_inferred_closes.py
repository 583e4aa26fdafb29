"""A position is gone at the broker: it is closed here, and exits reported later replace that."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D

import pytest

from brokers.types import CloseCause, OrderReport, ReportKind
from common.db.sql import rows
from connections.models import ExecutionConnection
from execution.models import Fill, Order
from execution.reports.inferred_closes import is_inferred_close, reverse_inferred_close
from execution.services import close_position
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def entry(alice: ExecutionConnection, feed: Feed) -> Order:
    """An entry of 100 that is filled at 1.1."""
    factories.signal(feed)
    factories.fill_all()
    return Order.objects.get()


def gone(entry: Order, quantity: int = 100, price: str = "1.12") -> OrderReport:
    """Return the report of reconciliation that so much of the position is closed."""
    report = factories.fill_report(entry, quantity, "", price=price, inferred=True)
    return replace(report, broker_order_id="", close_cause=CloseCause.EXTERNAL)


def stopped(entry: Order, quantity: int, fill_id: str, ticket: str = "X1") -> OrderReport:
    report = factories.fill_report(entry, quantity, fill_id, price="1.09", broker_order_id=ticket)
    return replace(report, close_cause=CloseCause.STOP_LOSS)


def exits() -> list[tuple[str, D, D]]:
    """Return leg, filled and inferred quantity of each exit."""
    found = Order.objects.exits().order_by("leg")
    return [(order.leg, order.filled_quantity, order.inferred_quantity) for order in found]


def position() -> ExecutionPosition:
    return ExecutionPosition.objects.get()


def test_only_a_cumulative_close_without_an_order_is_inferred(entry: Order) -> None:
    report = gone(entry)
    assert is_inferred_close(report)
    assert not is_inferred_close(replace(report, close_cause=None))
    assert not is_inferred_close(replace(report, broker_order_id="X1"))
    assert not is_inferred_close(replace(report, fills=()))
    execution = replace(report.fills[0], inferred=False)
    assert not is_inferred_close(replace(report, fills=(execution,)))
    assert not is_inferred_close(replace(report, fills=(*report.fills, execution)))


def test_inferred_close_closes_the_position_once(entry: Order) -> None:
    factories.apply(gone(entry))
    factories.apply(gone(entry), gone(entry))
    assert exits() == [("external-1", D(100), D(100))]
    assert (position().quantity, position().close_reason) == (0, "external_close")
    assert position().realized_pnl == D(2)


def test_larger_inferred_close_adds_to_the_earlier_one(entry: Order) -> None:
    factories.apply(gone(entry, 60))
    factories.apply(gone(entry))
    assert exits() == [("external-1", D(100), D(100))]
    assert position().quantity == 0
    assert position().realized_pnl == D(2)


def test_exit_that_ends_unfilled_leaves_the_inferred_close(entry: Order) -> None:
    [exit_id] = close_position(position().pk)
    factories.claim_all()
    factories.apply(gone(entry))
    factories.apply(factories.report(Order.objects.get(pk=exit_id), ReportKind.CANCELLED))
    assert exits() == [("close-1", D(0), D(0)), ("external-1", D(100), D(100))]
    assert "INFERRED_REPLACED" not in dict(factories.log_codes(Order.objects.latest("id").pk))


def test_reported_exit_replaces_a_part_of_the_inferred_close(entry: Order) -> None:
    factories.apply(gone(entry))
    inferred = Order.objects.exits().get()
    factories.apply(stopped(entry, 40, "s1"))
    assert exits() == [("external-1", D(60), D(60)), ("sl", D(40), D(0))]
    assert [fill.quantity for fill in inferred.fills.all()] == [60]
    assert position().quantity == 0
    assert position().realized_pnl == D("0.8")  # 60 gained 0.02 each, 40 lost 0.01 each
    assert factories.log_codes(inferred.pk)[-1] == ("INFERRED_REPLACED", "FILLED")
    (line,) = rows(
        "SELECT numbers FROM execution_executionlog WHERE order_id = %s"
        " AND code = 'INFERRED_REPLACED'",
        (inferred.pk,),
    )
    assert line.numbers == {"replaced": "40"}


def test_reported_exit_of_one_unit_replaces_as_much(entry: Order) -> None:
    factories.apply(gone(entry))
    factories.apply(stopped(entry, 1, "s1"))
    assert exits() == [("external-1", D(99), D(99)), ("sl", D(1), D(0))]


def test_exit_that_was_earlier_than_the_inferred_close_decides_when_it_closed(
    entry: Order,
) -> None:
    factories.apply(gone(entry))
    report = stopped(entry, 100, "s1")
    earlier = replace(report.fills[0], time=report.fills[0].time - timedelta(minutes=5))
    factories.apply(replace(report, fills=(earlier,)))
    assert (position().close_reason, position().closed_at) == ("sl", earlier.time)


def test_reported_exits_of_all_of_it_delete_the_inferred_close(entry: Order) -> None:
    factories.apply(gone(entry))
    factories.apply(stopped(entry, 40, "s1"))
    factories.apply(stopped(entry, 60, "s2"))
    assert exits() == [("sl", D(100), D(0))]
    assert Fill.objects.count() == 3  # of the entry, and two of the stop
    assert (position().quantity, position().close_reason) == (0, "sl")
    assert position().realized_pnl == D(-1)


def test_reports_of_one_batch_replace_the_inferred_close_together(entry: Order) -> None:
    factories.apply(gone(entry))
    factories.apply(stopped(entry, 40, "s1", "X1"), stopped(entry, 50, "s2", "X2"))
    assert exits() == [("external-1", D(10), D(10)), ("sl", D(40), D(0)), ("sl-2", D(50), D(0))]
    assert position().quantity == 0


def test_inferred_close_of_another_position_stays(entry: Order, feed: Feed) -> None:
    factories.apply(gone(entry))
    other = factories.filled(factories.signal(feed))
    factories.apply(stopped(Order.objects.get(signal=other.signal), 40, "s1"))
    assert exits() == [("external-1", D(100), D(100)), ("sl", D(40), D(0))]
    other.refresh_from_db()
    assert other.quantity == 60


def test_inferred_close_covers_only_what_no_exit_reports(entry: Order) -> None:
    factories.apply(stopped(entry, 30, "s1"), gone(entry))
    assert exits() == [("external-1", D(70), D(70)), ("sl", D(30), D(0))]
    assert position().quantity == 0


def test_reversal_returns_the_positions_that_had_an_inferred_close(
    entry: Order, feed: Feed
) -> None:
    factories.apply(gone(entry))
    closed = position()
    other = factories.filled(factories.signal(feed))
    assert reverse_inferred_close({}) == set()
    assert reverse_inferred_close({other.pk: D(10)}) == set()
    assert reverse_inferred_close({closed.pk: D(10), other.pk: D(10)}) == {closed.pk}
    assert exits() == [("external-1", D(90), D(90))]
    closed.refresh_from_db()
    assert closed.quantity == 10
