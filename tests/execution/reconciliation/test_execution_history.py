"""Reconciliation with a broker's history: missed executions, orders, levels, prices."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.base import ReadFailed
from brokers.types import CloseCause, OrderReport, ReportKind
from common.reason_codes import Code
from connections.models import ConnectionHealth, ExecutionConnection
from execution.base.reconciliation_requests import request_reconciliation
from execution.models import AccountSyncState, DriftItem, Fill, Order
from execution.reconciliation.reconcile import reconcile, reconcile_new
from execution.runtime import trading_runtime
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.factories import drift_items
from tests.execution.fake_broker import FakeBroker
from tests.execution.fake_broker_book import Ticket

pytestmark = [pytest.mark.usefixtures("inline_commits", "runtime")]


@pytest.fixture
def position(
    alice: ExecutionConnection,
    feed: Feed,
    runtime: trading_runtime.TradingRuntime,
    broker: FakeBroker,
) -> ExecutionPosition:
    """A position of 100 EUR/USD, ours and the broker's."""
    found = factories.filled(factories.signal(feed))
    factories.pass_time(1)
    return found


@pytest.fixture
def resting(
    alice: ExecutionConnection,
    feed: Feed,
    runtime: trading_runtime.TradingRuntime,
    broker: FakeBroker,
) -> Order:
    """A limit order of 100 EUR/USD working at the broker."""
    factories.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, broker.rest(outgoing.request))
    factories.pass_time(1)
    return Order.objects.get()


def closed_by_owner(broker: FakeBroker, quantity: str = "100", price: str = "1.10300") -> None:
    """Close at the broker without a report."""
    broker.price = D(price)
    broker.close_at_broker(broker.tickets[0], CloseCause.EXTERNAL, D(quantity))


# ---- executions that we missed ----------------------------------------------------------------
def test_close_by_the_owner_is_booked_with_the_brokers_execution(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    closed_by_owner(broker)
    reconcile()
    position.refresh_from_db()
    assert (position.quantity, position.close_reason) == (0, "external_close")
    fill = Fill.objects.get(order__leg="external-1")
    assert (fill.inferred, fill.price) == (False, D("1.103"))
    assert drift_items() == []
    factories.pass_time(6)
    reconcile()
    assert ExecutionPosition.objects.get().quantity == 0  # never reopened
    assert (Fill.objects.count(), drift_items()) == (2, [])


def test_partial_close_at_the_broker_is_booked_too(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    closed_by_owner(broker, "30")
    reconcile()
    position.refresh_from_db()
    assert (position.quantity, position.reserved, drift_items()) == (70, 0, [])


def test_missed_stop_fill_closes_as_a_stop(position: ExecutionPosition, broker: FakeBroker) -> None:
    broker.close_at_broker(broker.tickets[0], CloseCause.STOP_LOSS, D(100))
    reconcile()
    position.refresh_from_db()
    assert (position.quantity, position.close_reason) == (0, "sl")


def test_unreadable_history_closes_nothing(
    position: ExecutionPosition, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unreadable(spec, since):  # type: ignore[no-untyped-def]
        raise ReadFailed(Code.BROKER_UNREACHABLE)

    ConnectionHealth.objects.update(reconciled_at=None)
    monkeypatch.setattr(broker, "fills_since", unreadable)
    closed_by_owner(broker)
    for _ in range(3):
        reconcile()
        factories.pass_time(6)
    position.refresh_from_db()
    assert (position.quantity, drift_items()) == (100, [])
    assert ConnectionHealth.objects.get().reconciled_at is None  # no entry before a complete read


@pytest.mark.parametrize("read", ["positions", "open_orders"])
def test_incomplete_answer_closes_nothing(
    position: ExecutionPosition, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    async def half(spec):  # type: ignore[no-untyped-def]
        raise ReadFailed(Code.BROKER_UNREACHABLE)

    broker.fills_horizon = None
    monkeypatch.setattr(broker, read, half)
    closed_by_owner(broker)
    for _ in range(3):
        assert reconcile() == 0
        factories.pass_time(6)
    position.refresh_from_db()
    assert (position.quantity, drift_items()) == (100, [])


def test_position_closed_by_its_owner_while_our_exit_is_in_flight(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    factories.close_signal(position.signal)
    (outgoing,) = factories.claim_all()
    closed_by_owner(broker)
    for _ in range(2):
        reconcile()
        factories.pass_time(6)
    position.refresh_from_db()
    assert (position.quantity, drift_items()) == (
        100,
        [],
    )  # an order is in flight: nothing is reported
    with pytest.raises(Exception) as refused:
        broker.fill_at_once(outgoing.request)
    factories.answer(outgoing, refused.value)
    factories.pass_time(6)
    reconcile()
    position.refresh_from_db()
    assert (position.quantity, position.reserved, position.close_reason) == (
        0, 0, "external_close",
    )  # fmt: skip
    assert broker.tickets[0].held == 0


def test_abandoned_entry_that_arrived_is_found_by_its_position(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    broker.fill_at_once(outgoing.request)
    Order.objects.update(status="FAILED", reason="NEVER_ARRIVED", done_at="2020-01-01T00:00Z")
    reconcile()
    assert (Order.objects.get().status, drift_items()) == ("FILLED", [])
    assert ExecutionPosition.objects.get().quantity == 100


# ---- orders ------------------------------------------------------------------------------------
def test_matching_orders_cause_no_drift(resting: Order, broker: FakeBroker) -> None:
    assert reconcile() == 0
    assert drift_items() == []
    assert ("find_order", resting.client_order_id) not in broker.calls


@pytest.mark.parametrize(
    ("happen", "status"),
    [
        (lambda broker, ticket: broker.end(ticket, "CANCELLED"), "CANCELLED"),
        (lambda broker, ticket: broker.end(ticket, "EXPIRED"), "EXPIRED"),
        (lambda broker, ticket: broker.execute(ticket), "FILLED"),
    ],
)
def test_order_that_is_no_longer_working_is_looked_up(
    resting: Order,
    broker: FakeBroker,
    happen: Callable[[FakeBroker, Ticket], OrderReport],
    status: str,
) -> None:
    happen(broker, broker.tickets[0])
    assert reconcile() == 0
    resting.refresh_from_db()
    assert (resting.status, drift_items()) == (status, [])


def test_order_missing_at_the_broker_is_drift_and_stays(resting: Order, broker: FakeBroker) -> None:
    broker.tickets.clear()
    assert reconcile() == 1
    resting.refresh_from_db()
    item = DriftItem.objects.get()
    assert (resting.status, item.kind, item.order_id) == ("SUBMITTED", "ORDER_MISSING", resting.pk)
    assert (item.evidence["ours"]["state"], item.evidence["theirs"]) == ("SUBMITTED", None)


def test_order_that_cannot_be_looked_up_is_no_drift(
    resting: Order, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unsure(spec, client_order_id):  # type: ignore[no-untyped-def]
        raise ReadFailed(Code.BROKER_UNREACHABLE)

    monkeypatch.setattr(broker, "find_order", unsure)
    broker.tickets.clear()
    assert reconcile() == 0
    assert drift_items() == []


@pytest.mark.django_db(transaction=True)
def test_order_accepted_while_the_broker_is_read_is_not_missing(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    (outgoing,) = factories.claim_all()
    real = broker.open_orders

    async def read_then_accept(spec):  # type: ignore[no-untyped-def]
        found = await real(spec)
        broker.on_call = lambda: None
        await asyncio.to_thread(factories.answer, outgoing, broker.rest(outgoing.request))
        return found

    monkeypatch.setattr(broker, "open_orders", read_then_accept)
    assert reconcile() == 0
    assert (Order.objects.get().status, drift_items()) == ("SUBMITTED", [])


def test_order_with_our_tag_and_no_row_is_an_orphan(resting: Order, broker: FakeBroker) -> None:
    request = broker.tickets[0].request
    tag = request.client_order_id[:3]
    broker.receive(replace(request, client_order_id=f"{tag}abcdefghijklmn0"))
    assert reconcile() == 1
    item = DriftItem.objects.get()
    assert (item.kind, item.state, item.key) == ("UNKNOWN_ORDER", "OPEN", f"{tag}abcdefghijklmn0")
    assert item.evidence["theirs"]["limit_price"] == "1.095"
    broker.end(broker.tickets[1], "CANCELLED")
    reconcile()
    assert drift_items() == [("UNKNOWN_ORDER", "RESOLVED")]


def test_order_of_another_program_is_recorded_without_notification(
    resting: Order, broker: FakeBroker
) -> None:
    broker.receive(replace(broker.tickets[0].request, client_order_id="by hand"))
    assert reconcile() == 0
    reconcile()
    assert drift_items() == [("FOREIGN_ORDER", "NOTED")]
    assert factories.events("drift.found") == []
    assert [name for name, _ in broker.calls if name in ("cancel", "modify", "submit")] == []


def test_order_ended_here_and_working_there_is_drift(resting: Order) -> None:
    factories.apply(factories.report(resting, ReportKind.CANCELLED))
    factories.pass_time(1)
    assert reconcile() == 1
    assert drift_items() == [("ORDER_STILL_WORKING", "OPEN")]


# ---- levels and prices -------------------------------------------------------------------------
@pytest.fixture
def guarded(
    feed: Feed, runtime: trading_runtime.TradingRuntime, broker: FakeBroker
) -> ExecutionPosition:
    """A position whose stop at 1.09000 the broker holds."""
    factories.account(feed, settings={"native_stops": True})
    found = factories.filled(factories.signal(feed))
    assert (found.sl_guardian, found.broker_sl) == ("BROKER", D("1.09"))
    factories.pass_time(1)
    return found


def move_there(broker: FakeBroker, **levels: Any) -> None:
    """The owner moves levels at the broker."""
    broker.tickets[0].request = replace(broker.tickets[0].request, **levels)


def test_stop_moved_at_the_broker_is_drift_and_is_not_moved_back(
    guarded: ExecutionPosition, broker: FakeBroker
) -> None:
    assert reconcile() == 0
    move_there(broker, stop_loss=D("1.08500"))
    assert reconcile() == 1
    item = DriftItem.objects.get()
    assert item.kind == "LEVELS_DIFFER"
    assert (item.evidence["ours"]["stop_loss"], item.evidence["theirs"]["stop_loss"]) == (
        "1.09", "1.085",
    )  # fmt: skip
    guarded.refresh_from_db()
    assert (guarded.sl, guarded.broker_sl) == (D("1.09"), D("1.09"))
    move_there(broker, stop_loss=D("1.090000001"))  # rounding by brokers is no difference
    assert reconcile() == 0
    assert drift_items() == [("LEVELS_DIFFER", "RESOLVED")]


def test_level_that_is_not_sent_yet_is_no_difference(
    guarded: ExecutionPosition, broker: FakeBroker
) -> None:
    ExecutionPosition.objects.update(sl=D("1.09500"))
    move_there(broker, stop_loss=D("1.08500"))
    assert reconcile() == 0


def test_different_entry_price_is_drift(guarded: ExecutionPosition, broker: FakeBroker) -> None:
    ticket = broker.tickets[0]
    ticket.fills = [replace(ticket.fills[0], price=D("1.10050"))]
    assert reconcile() == 1
    assert drift_items() == [("PRICE_DIFFERS", "OPEN")]


def test_position_that_grew_has_the_brokers_average_price(
    resting: Order, broker: FakeBroker
) -> None:
    """60 at 1.10, 30 closed there, 40 more at 1.107: both average the lots that remain."""
    ticket = broker.tickets[0]
    factories.apply(broker.execute(ticket, D(60)))
    closed_by_owner(broker, "30")
    broker.price = D("1.10700")
    factories.apply(broker.execute(ticket))
    factories.pass_time(1)
    reconcile()
    assert drift_items() == []
    position = ExecutionPosition.objects.get()
    assert (position.quantity, position.entry_price) == (70, D("1.104"))
    assert position.realized_pnl == D("0.09")


# ---- on request --------------------------------------------------------------------------------
def test_requested_reconciliation_runs_once(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    assert reconcile_new() == 0
    assert ("positions", str(position.connection_id)) not in broker.calls
    assert request_reconciliation([position.connection_id]) == 1
    reconcile_new()
    assert AccountSyncState.objects.get().reconcile_requested_at is None
    assert broker.calls.count(("positions", str(position.connection_id))) == 1
    reconcile_new()
    assert broker.calls.count(("positions", str(position.connection_id))) == 1


def test_reconciliation_request_survives_a_failed_read(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    request_reconciliation()
    broker.reads_fail = True
    reconcile_new()
    assert AccountSyncState.objects.get().reconcile_requested_at is not None


def test_open_positions_of_a_switched_off_connection_are_reconciled(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    ExecutionConnection.objects.update(is_active=False)
    closed_by_owner(broker)
    reconcile()
    position.refresh_from_db()
    assert position.quantity == 0
