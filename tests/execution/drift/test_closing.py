"""Differences that are decided: what is not wanted is closed or cancelled, once."""

import asyncio
from dataclasses import replace
from decimal import Decimal as D

import pytest

from brokers.messages import (
    CancelRequest,
    CloseCause,
    ConnectionSpec,
    OrderReport,
    ReportKind,
)
from common.errors import ConflictError
from common.sql import rows
from connections import lanes
from connections.models import ExecutionConnection
from execution import services
from execution.calls import asking, runtime
from execution.calls.sweeps import ask_brokers
from execution.drift import decisions as drift_decisions
from execution.drift.reconcile import connections_sql, reconcile
from execution.models import Order
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import cast
from tests.execution.double import Double
from tests.execution.drift.hands import found, send_exits, settled, stranger, tag
from users.models import User

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_unknown_position_that_is_not_wanted_is_closed_there_once(
    position: ExecutionPosition, broker: Double, owner: User
) -> None:
    stranger(broker)
    item = found("UNKNOWN_POSITION")
    decided = drift_decisions.close(item.pk, by=owner)
    assert len(decided.order_ids) == 1
    with pytest.raises(ConflictError):
        drift_decisions.close(item.pk, by=owner)
    send_exits(broker)
    assert [t.held for t in broker.tickets[:2]] == [100, 0]
    position.refresh_from_db()
    assert position.quantity == 100
    settled(broker)


def test_an_orphan_that_rests_is_cancelled(
    position: ExecutionPosition, broker: Double, owner: User
) -> None:
    known = broker.tickets[0].request
    ticket = broker.receive(replace(known, client_order_id=tag(broker)))
    assert drift_decisions.close(found("UNKNOWN_ORDER").pk, by=owner).wishes
    ask_brokers(runtime.present().wire)
    cast.pass_time(2)
    services.grant_wishes()
    settled(broker)
    assert (ticket.status, Order.objects.get(client_order_id=tag(broker)).status) == (
        "CANCELLED", "CANCELLED",
    )  # fmt: skip


def test_ours_is_closed_by_a_word_where_the_broker_has_none(
    position: ExecutionPosition, broker: Double, owner: User
) -> None:
    broker.fills_horizon = None
    broker.exit_by_itself(broker.tickets[0], CloseCause.EXTERNAL, D(100))
    item = found("POSITION_MISSING")
    drift_decisions.close(item.pk, by=owner)
    position.refresh_from_db()
    assert (position.quantity, position.close_reason) == (0, "external_close")
    settled(broker)


def test_ours_is_not_closed_by_a_word_while_an_exit_is_under_way(
    position: ExecutionPosition, broker: Double, owner: User
) -> None:
    broker.fills_horizon = None
    broker.exit_by_itself(broker.tickets[0], CloseCause.EXTERNAL, D(100))
    item = found("POSITION_MISSING")
    cast.close_signal(position.signal)
    cast.claim_all()
    with pytest.raises(ConflictError):
        drift_decisions.close(item.pk, by=owner)


def test_an_order_that_the_broker_lacks_is_ended_by_a_word(
    alice: ExecutionConnection, feed: Feed, wire: runtime.Runtime, broker: Double, owner: User
) -> None:
    cast.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    (outgoing,) = cast.claim_all()
    cast.answer(outgoing, broker.rest(outgoing.request))
    broker.tickets.clear()
    drift_decisions.close(found("ORDER_MISSING").pk, by=owner)
    order = Order.objects.get()
    assert (order.status, order.reason) == ("CANCELLED", "DRIFT_DECIDED")


def test_what_rests_though_it_has_ended_here_is_cancelled_by_the_next_comparison(
    alice: ExecutionConnection, feed: Feed, wire: runtime.Runtime, broker: Double, owner: User
) -> None:
    cast.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    (outgoing,) = cast.claim_all()
    cast.answer(outgoing, broker.rest(outgoing.request))
    cast.tell(cast.report(Order.objects.get(), ReportKind.CANCELLED))
    cast.pass_time(1)
    item = found("ORDER_RESTS")
    reconcile()
    assert broker.tickets[0].status == "WORKING"  # nobody has decided yet
    assert drift_decisions.close(item.pk, by=owner).comparison
    reconcile()
    item.refresh_from_db()
    assert (broker.tickets[0].status, item.state) == ("CANCELLED", "RESOLVED")


def test_a_cancel_keeps_its_lane_busy_and_has_its_time_from_when_it_has_its_place(
    alice: ExecutionConnection, wire: runtime.Runtime, broker: Double,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """One place: the second waits for the first, and its time has not run out meanwhile. While one
    is under way its lane is not given back."""
    monkeypatch.setattr(asking, "AT_ONE_HOST", 1)
    monkeypatch.setattr(asking, "LEAST_AT_ONE_HOST", 1)
    sent: list[tuple[float, bool]] = []

    async def cancel(spec: ConnectionSpec, request: CancelRequest) -> list[OrderReport]:
        assert request.send_by is not None
        sent.append((request.send_by, wire.wire.is_busy("")))
        await asyncio.sleep(0.05)  # how long this broker takes
        return []

    monkeypatch.setattr(broker, "cancel", cancel)
    which = {
        "ids": [alice.pk],
        "done": "{}",
        "turns": "{}",
        "first": False,
        **lanes.in_held(),
        **lanes.resting(),
    }
    (row,) = rows(connections_sql(), which)
    asking.cancel([(row, CancelRequest(f"c{n}", f"b{n}", "EURUSD")) for n in range(2)])
    (first, was_busy), (second, still_busy) = sent
    assert second >= first + 0.05
    assert (was_busy, still_busy, wire.wire.is_busy("")) == (True, True, False)
