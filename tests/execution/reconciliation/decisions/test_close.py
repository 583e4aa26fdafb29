"""Decisions on drift: close or cancel at the broker, once."""

import asyncio
from dataclasses import replace
from decimal import Decimal as D

import pytest

from brokers.types import (
    CancelRequest,
    CloseCause,
    ConnectionSpec,
    OrderReport,
    ReportKind,
)
from common.db.sql import rows
from common.errors import ConflictError
from connections import session_lanes
from connections.models import ExecutionConnection
from execution import services
from execution.models import Order
from execution.reconciliation import decisions as drift_decisions
from execution.reconciliation.reconcile import connections_sql, reconcile
from execution.recovery.sweeps import query_unknown_orders
from execution.runtime import broker_queries, trading_runtime
from positions.models import ExecutionPosition
from signals.models import Feed
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

pytestmark = [pytest.mark.usefixtures("inline_commits", "alice", "runtime")]


def test_unwanted_unknown_position_is_closed_at_the_broker_once(
    position: ExecutionPosition, broker: FakeBroker, owner: User
) -> None:
    foreign_position(broker)
    item = drift_item("UNKNOWN_POSITION")
    decided = drift_decisions.close(item.pk, by=owner)
    assert len(decided.order_ids) == 1
    with pytest.raises(ConflictError):
        drift_decisions.close(item.pk, by=owner)
    send_exits(broker)
    assert [t.held for t in broker.tickets[:2]] == [100, 0]
    position.refresh_from_db()
    assert position.quantity == 100
    assert_settled(broker)


def test_working_orphan_is_cancelled(
    position: ExecutionPosition, broker: FakeBroker, owner: User
) -> None:
    known = broker.tickets[0].request
    ticket = broker.receive(replace(known, client_order_id=tag(broker)))
    assert drift_decisions.close(drift_item("UNKNOWN_ORDER").pk, by=owner).has_pending_actions
    query_unknown_orders(trading_runtime.get_runtime().dispatcher)
    factories.pass_time(2)
    services.process_pending_actions()
    assert_settled(broker)
    assert (ticket.status, Order.objects.get(client_order_id=tag(broker)).status) == (
        "CANCELLED", "CANCELLED",
    )  # fmt: skip


def test_missing_position_is_closed_by_decision(
    position: ExecutionPosition, broker: FakeBroker, owner: User
) -> None:
    broker.fills_horizon = None
    broker.close_at_broker(broker.tickets[0], CloseCause.EXTERNAL, D(100))
    item = drift_item("POSITION_MISSING")
    drift_decisions.close(item.pk, by=owner)
    position.refresh_from_db()
    assert (position.quantity, position.close_reason) == (0, "external_close")
    assert_settled(broker)


def test_missing_position_is_not_closed_by_decision_while_an_exit_is_in_flight(
    position: ExecutionPosition, broker: FakeBroker, owner: User
) -> None:
    broker.fills_horizon = None
    broker.close_at_broker(broker.tickets[0], CloseCause.EXTERNAL, D(100))
    item = drift_item("POSITION_MISSING")
    factories.close_signal(position.signal)
    factories.claim_all()
    with pytest.raises(ConflictError):
        drift_decisions.close(item.pk, by=owner)


def test_missing_order_is_ended_by_decision(feed: Feed, broker: FakeBroker, owner: User) -> None:
    factories.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, broker.rest(outgoing.request))
    broker.tickets.clear()
    drift_decisions.close(drift_item("ORDER_MISSING").pk, by=owner)
    order = Order.objects.get()
    assert (order.status, order.reason) == ("CANCELLED", "DRIFT_DECIDED")


def test_order_ended_here_and_working_there_is_cancelled_by_reconciliation(
    feed: Feed, broker: FakeBroker, owner: User
) -> None:
    factories.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, broker.rest(outgoing.request))
    factories.apply(factories.report(Order.objects.get(), ReportKind.CANCELLED))
    factories.pass_time(1)
    item = drift_item("ORDER_STILL_WORKING")
    reconcile()
    assert broker.tickets[0].status == "WORKING"  # no decision yet
    assert drift_decisions.close(item.pk, by=owner).needs_comparison
    reconcile()
    item.refresh_from_db()
    assert (broker.tickets[0].status, item.state) == ("CANCELLED", "RESOLVED")


def test_cancel_keeps_its_lane_busy_and_its_time_out_starts_with_its_slot(
    alice: ExecutionConnection, runtime: trading_runtime.TradingRuntime, broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """One slot: the second waits for the first, and its time-out does not start meanwhile.
    While one is under way its lane is not released."""
    monkeypatch.setattr(broker_queries, "MAX_PER_HOST", 1)
    monkeypatch.setattr(broker_queries, "MIN_PER_HOST", 1)
    sent: list[tuple[float, bool]] = []

    async def cancel(spec: ConnectionSpec, request: CancelRequest) -> list[OrderReport]:
        assert request.send_by is not None
        sent.append((request.send_by, runtime.dispatcher.is_lane_busy("")))
        await asyncio.sleep(0.05)  # how long this broker takes
        return []

    monkeypatch.setattr(broker, "cancel", cancel)
    which = {
        "ids": [alice.pk],
        "done": "{}",
        "selected_at": "{}",
        **session_lanes.held_lanes_parameters(),
        **session_lanes.idle_parameters(),
    }
    (row,) = rows(connections_sql(), which)
    broker_queries.cancel([(row, CancelRequest(f"c{n}", f"b{n}", "EURUSD")) for n in range(2)])
    (first, was_busy), (second, still_busy) = sent
    assert second >= first + 0.05
    assert (was_busy, still_busy, runtime.dispatcher.is_lane_busy("")) == (True, True, False)
