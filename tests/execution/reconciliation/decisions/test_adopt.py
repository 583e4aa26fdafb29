"""Decisions on drift: adopt the broker's position or order as our trade."""

from dataclasses import replace
from decimal import Decimal as D

import pytest

from brokers.types import CloseCause, OrderType
from common.errors import InvalidInputError
from execution import services
from execution.models import DriftItem, ExecutionLog, Fill, Order
from execution.reconciliation import decisions as drift_decisions
from execution.reconciliation.adopt import Levels
from execution.reconciliation.reconcile import reconcile
from execution.recovery.sweeps import query_unknown_orders
from execution.runtime import trading_runtime
from execution.runtime.event_stream import drain_events
from positions.models import ExecutionPosition
from signals.feeds.services import create_feed
from signals.models import Signal
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.reconciliation.decisions.actions import (
    assert_settled,
    drift_item,
    foreign_position,
    send_exits,
    tag,
)
from users.models import User

pytestmark = [pytest.mark.usefixtures("inline_commits", "position")]


def test_manual_position_becomes_a_normal_trade(broker: FakeBroker, owner: User) -> None:
    ticket = foreign_position(broker, stop_loss=D("1.08000"))
    item = drift_item("UNKNOWN_POSITION")
    drift_decisions.adopt(item.pk, by=owner)
    adopted = ExecutionPosition.objects.get(broker_position_id=ticket.number)
    assert (adopted.quantity, adopted.side, adopted.entry_price) == (50, "BUY", D("1.1"))
    assert (adopted.sl, adopted.broker_sl, adopted.sl_guardian) == (D("1.08"), D("1.08"), "BROKER")
    signal = Signal.objects.get(pk=adopted.signal_id)
    assert (signal.origin, signal.feed.is_public, signal.candidate_count) == ("DRIFT", False, 1)
    assert signal.feed.owner == owner
    assert Order.objects.filter(signal=signal).count() == 1  # no other account gets an order
    assert Fill.objects.get(order__signal=signal).inferred
    item.refresh_from_db()
    assert (item.state, item.decision, item.decided_by) == ("RESOLVED", "ADOPT", owner)
    assert ExecutionLog.objects.filter(code="DRIFT_DECIDED", order_id=None).count() == 1
    assert_settled(broker)
    services.close_position(adopted.pk, by=owner)
    send_exits(broker)
    adopted.refresh_from_db()
    assert adopted.quantity == 0
    assert [t.held for t in broker.tickets[:2]] == [100, 0]
    assert_settled(broker)


def test_adopted_trade_never_uses_a_feed_of_another_owner(broker: FakeBroker, owner: User) -> None:
    """Feed names are free; the feed's owner could read the signals and close them."""
    thief = make.user()
    theirs = create_feed(owner=thief, name="Adopted trades", slug=f"adopted-{owner.pk}")
    foreign_position(broker)
    drift_decisions.adopt(drift_item("UNKNOWN_POSITION").pk, by=owner)
    assert Signal.objects.get(origin="DRIFT").feed.owner == owner
    assert not Signal.objects.filter(feed=theirs).exists()
    foreign_position(broker)
    reconcile()
    drift_decisions.adopt(DriftItem.objects.get(state="OPEN").pk, by=owner)
    assert Signal.objects.filter(origin="DRIFT").values("feed").distinct().count() == 1


def test_adopted_position_can_get_levels(broker: FakeBroker, owner: User) -> None:
    foreign_position(broker, stop_loss=None)
    item = drift_item("UNKNOWN_POSITION")
    for wrong in (Levels(stop_loss=D("1.2")), Levels(take_profit=D("1.0"))):
        with pytest.raises(InvalidInputError):
            drift_decisions.adopt(item.pk, by=owner, levels=wrong)
    assert Signal.objects.count() == 1  # a refused adoption stores nothing
    drift_decisions.adopt(item.pk, by=owner, levels=Levels(stop_loss=D("1.095")))
    adopted = ExecutionPosition.objects.latest("id")
    assert (adopted.sl, adopted.sl_guardian, adopted.broker_sl) == (D("1.095"), "ENGINE", None)


def test_close_by_the_owner_after_adoption_is_booked(broker: FakeBroker, owner: User) -> None:
    ticket = foreign_position(broker, cid="")
    drift_decisions.adopt(drift_item("UNKNOWN_POSITION").pk, by=owner)
    factories.pass_time(1)
    broker.close_at_broker(ticket, CloseCause.STOP_LOSS, D(50))
    reconcile()
    adopted = ExecutionPosition.objects.get(broker_position_id=ticket.number)
    assert (adopted.quantity, adopted.close_reason) == (0, "sl")
    assert_settled(broker)


def test_orphan_with_our_tag_is_adopted_with_its_executions(
    broker: FakeBroker, owner: User
) -> None:
    ticket = foreign_position(broker, cid=tag(broker))
    broker.close_at_broker(ticket, CloseCause.EXTERNAL, D(20))
    item = drift_item("UNKNOWN_POSITION")
    assert (item.evidence["entered"], item.evidence["theirs"]["quantity"]) == ("50", "30")
    drift_decisions.adopt(item.pk, by=owner)
    query_unknown_orders(trading_runtime.get_runtime().dispatcher)
    reconcile()
    adopted = ExecutionPosition.objects.get(broker_position_id=ticket.number)
    assert (adopted.opened_quantity, adopted.quantity) == (D(50), D(30))
    assert not Fill.objects.filter(order__signal=adopted.signal, inferred=True).exists()
    assert_settled(broker)


def test_working_orphan_is_adopted_as_an_order(broker: FakeBroker, owner: User) -> None:
    known = broker.tickets[0].request
    ticket = broker.receive(
        replace(known, client_order_id=tag(broker), order_type="LIMIT", limit_price=D("1.09"))  # type: ignore[arg-type]
    )
    drift_decisions.adopt(drift_item("UNKNOWN_ORDER").pk, by=owner)
    query_unknown_orders(trading_runtime.get_runtime().dispatcher)
    order = Order.objects.get(client_order_id=tag(broker))
    assert (order.status, order.limit_price, order.broker_order_id) == (
        "SUBMITTED", D("1.09"), ticket.number,
    )  # fmt: skip
    assert_settled(broker)


def test_working_trailing_stop_is_adopted_with_its_distance(
    broker: FakeBroker, owner: User
) -> None:
    known = broker.tickets[0].request
    broker.receive(
        replace(
            known, client_order_id=tag(broker), order_type=OrderType.TRAILING_STOP,
            stop_price=D("1.105"), trail_distance=D("0.005"), stop_loss=None, take_profit=None,
        )
    )  # fmt: skip
    item = drift_item("UNKNOWN_ORDER")
    assert item.evidence["theirs"]["trail_distance"] == "0.005"
    drift_decisions.adopt(item.pk, by=owner)
    query_unknown_orders(trading_runtime.get_runtime().dispatcher)
    order = Order.objects.get(client_order_id=tag(broker))
    assert (order.status, order.order_type) == ("SUBMITTED", "TRAILING_STOP")
    assert (order.trail_distance, order.stop_price) == (D("0.005"), D("1.105"))
    assert order.signal is not None
    assert (order.signal.trail_distance, order.signal.stop_price) == (D("0.005"), None)
    assert_settled(broker)


@pytest.mark.django_db(transaction=True)
def test_stream_report_of_an_exit_closes_an_adopted_position(
    broker: FakeBroker, owner: User
) -> None:
    ticket = foreign_position(broker, cid=tag(broker))
    drift_decisions.adopt(drift_item("UNKNOWN_POSITION").pk, by=owner)
    query_unknown_orders(trading_runtime.get_runtime().dispatcher)
    broker.publish(broker.close_at_broker(ticket, CloseCause.TAKE_PROFIT, D(50)))
    drain_events()
    adopted = ExecutionPosition.objects.get(broker_position_id=ticket.number)
    assert (adopted.quantity, adopted.close_reason) == (0, "target_1")
    assert_settled(broker)
