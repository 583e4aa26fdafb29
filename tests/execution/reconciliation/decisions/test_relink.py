"""Decisions on drift: relink an unknown position or order to our row."""

from dataclasses import replace
from decimal import Decimal as D

import pytest

from common.errors import ConflictError, FillcastError, InvalidInputError
from execution.dispatch.background_calls import BackgroundCall, CallResult
from execution.models import DriftItem, Order
from execution.reconciliation import decisions as drift_decisions
from execution.recovery.sweeps import (
    apply_lookup_results,
    mark_orphaned_unknown,
    query_unknown_orders,
)
from execution.runtime import trading_runtime
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.reconciliation.decisions.actions import (
    TAGGED,
    assert_settled,
    drift_item,
    foreign_position,
    tag,
)
from users.models import User

pytestmark = [pytest.mark.usefixtures("inline_commits", "alice", "runtime")]


def test_unknown_position_is_relinked_to_an_abandoned_entry(
    position: ExecutionPosition, broker: FakeBroker, feed: Feed, owner: User
) -> None:
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    Order.objects.filter(pk=outgoing.request.order_id).update(
        status="FAILED", reason="NEVER_ARRIVED", done_at="2020-01-01T00:00Z"
    )
    ticket = foreign_position(broker, cid="rewritten")
    item = drift_item("UNKNOWN_POSITION")
    drift_decisions.relink(item.pk, by=owner, order_id=outgoing.request.order_id)
    order = Order.objects.get(pk=outgoing.request.order_id)
    assert (order.status, order.filled_quantity) == ("PARTIALLY_FILLED", 50)
    assert ExecutionPosition.objects.get(signal=order.signal).broker_position_id == ticket.number


def test_unknown_position_is_relinked_to_a_position_of_ours(
    feed: Feed, broker: FakeBroker, owner: User
) -> None:
    for _ in range(2):
        factories.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    one, other = factories.claim_all()
    tag = one.request.client_order_id[:3]
    broker.rest(replace(one.request, client_order_id=tag + TAGGED))
    item = drift_item("UNKNOWN_ORDER")
    drift_decisions.relink(item.pk, by=owner, order_id=one.request.order_id)
    DriftItem.objects.filter(pk=item.pk).update(state="OPEN")  # a second decision
    with pytest.raises(ConflictError) as refused:
        drift_decisions.relink(item.pk, by=owner, order_id=other.request.order_id)
    assert refused.value.code == "STATE_CONFLICT"


def test_look_ups_of_the_old_id_do_not_count_for_the_relinked_order(
    feed: Feed,
    runtime: trading_runtime.TradingRuntime,
    broker: FakeBroker,
    owner: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    factories.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    (outgoing,) = factories.claim_all()
    factories.pass_time(61)
    mark_orphaned_unknown("another")
    query_unknown_orders(runtime.dispatcher)
    order = Order.objects.get(status="UNKNOWN", absence_confirmations=1)
    factories.pass_time(61)
    asked: list[BackgroundCall] = []
    with monkeypatch.context() as slowly:
        slowly.setattr(runtime.dispatcher.background_calls, "start", asked.extend)
        query_unknown_orders(runtime.dispatcher)
    tag, fence = outgoing.request.client_order_id[:3], order.fence
    broker.rest(replace(outgoing.request, client_order_id=tag + TAGGED))
    drift_decisions.relink(drift_item("UNKNOWN_ORDER").pk, by=owner, order_id=order.pk)
    assert Order.objects.get(pk=order.pk).fence == fence + 1  # no decision about the old id counts
    apply_lookup_results([CallResult(one, None) for one in asked])
    order.refresh_from_db()
    assert (order.status, order.absence_confirmations) == ("UNKNOWN", 0)
    query_unknown_orders(runtime.dispatcher)
    order.refresh_from_db()
    assert (order.status, order.client_order_id) == ("SUBMITTED", tag + TAGGED)


@pytest.mark.parametrize("cid", ["rewritten", TAGGED])
def test_sent_entry_of_a_restored_database_is_relinked(
    position: ExecutionPosition, broker: FakeBroker, feed: Feed, owner: User, cid: str
) -> None:
    """The backup has it unsent and never sized; a person sees it at the broker."""
    forgotten = factories.signal(feed)
    Order.objects.filter(signal=forgotten).update(
        status="EXPIRED", reason="RESTORED_UNSENT", done_at="2020-01-01T00:00Z"
    )
    ticket = foreign_position(broker, cid=tag(broker) if cid == TAGGED else cid)
    item = drift_item("UNKNOWN_POSITION")
    order = Order.objects.get(signal=forgotten)
    drift_decisions.relink(item.pk, by=owner, order_id=order.pk)
    query_unknown_orders(trading_runtime.get_runtime().dispatcher)
    order.refresh_from_db()
    assert (order.status, order.filled_quantity, order.symbol) == ("FILLED", 50, "EURUSD")
    opened = ExecutionPosition.objects.get(signal=forgotten)
    assert (opened.quantity, opened.broker_position_id) == (50, ticket.number)
    assert_settled(broker)


def test_unknown_position_is_ours_under_another_id(
    position: ExecutionPosition, broker: FakeBroker, owner: User
) -> None:
    broker.fills_horizon = None
    ticket = broker.tickets[0]
    item_of = ExecutionPosition.objects.filter(pk=position.pk)
    foreign_position(broker)
    unknown = drift_item("UNKNOWN_POSITION")
    with pytest.raises(FillcastError) as refused:
        drift_decisions.relink(unknown.pk, by=owner, position_id=position.pk)
    assert (
        refused.value.code == "DRIFT_TARGET_NOT_APPLICABLE"
    )  # its own id is at the broker as well
    broker.tickets.pop()
    DriftItem.objects.all().delete()
    ticket.number = "777"
    ticket.request = replace(ticket.request, client_order_id="rewritten")
    item = drift_item("UNKNOWN_POSITION")
    drift_decisions.relink(item.pk, by=owner, position_id=position.pk)
    assert item_of.get().broker_position_id == "777"
    assert_settled(broker)


@pytest.mark.parametrize("target", ["order_id", "position_id"])
def test_inapplicable_relink_is_refused(
    position: ExecutionPosition, broker: FakeBroker, owner: User, target: str
) -> None:
    foreign_position(broker)
    item = drift_item("UNKNOWN_POSITION")
    with pytest.raises(FillcastError) as refused:
        drift_decisions.relink(item.pk, by=owner, **{target: 999_999})
    assert refused.value.code == "DRIFT_TARGET_NOT_APPLICABLE"
    with pytest.raises(InvalidInputError):
        drift_decisions.relink(item.pk, by=owner)
