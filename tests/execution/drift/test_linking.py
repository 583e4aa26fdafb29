"""Differences that are decided: what looks unknown is really one of ours."""

from dataclasses import replace
from decimal import Decimal as D

import pytest

from common.errors import ConflictError, FillcastError, InvalidInputError
from connections.models import ExecutionConnection
from execution.calls import runtime
from execution.calls.errands import Done, Errand
from execution.calls.sweeps import ask_brokers, settle_lookups, take_over
from execution.drift import decisions as drift_decisions
from execution.models import DriftItem, Order
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import cast
from tests.execution.double import Double
from tests.execution.drift.hands import TAGGED, found, settled, stranger, tag
from users.models import User

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_unknown_position_is_really_that_of_an_entry_that_was_given_up(
    position: ExecutionPosition, broker: Double, feed: Feed, owner: User
) -> None:
    cast.signal(feed)
    (outgoing,) = cast.claim_all()
    Order.objects.filter(pk=outgoing.request.order_id).update(
        status="FAILED", reason="NEVER_ARRIVED", done_at="2020-01-01T00:00Z"
    )
    ticket = stranger(broker, cid="rewritten")
    item = found("UNKNOWN_POSITION")
    drift_decisions.relink(item.pk, by=owner, order_id=outgoing.request.order_id)
    order = Order.objects.get(pk=outgoing.request.order_id)
    assert (order.status, order.filled_quantity) == ("PARTIALLY_FILLED", 50)
    assert ExecutionPosition.objects.get(signal=order.signal).broker_position_id == ticket.number


def test_one_of_the_brokers_is_linked_with_one_of_ours(
    feed: Feed, alice: ExecutionConnection, wire: runtime.Runtime, broker: Double, owner: User
) -> None:
    for _ in range(2):
        cast.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    one, other = cast.claim_all()
    tag = one.request.client_order_id[:3]
    broker.rest(replace(one.request, client_order_id=tag + TAGGED))
    item = found("UNKNOWN_ORDER")
    drift_decisions.relink(item.pk, by=owner, order_id=one.request.order_id)
    DriftItem.objects.filter(pk=item.pk).update(state="OPEN")  # somebody decides once more
    with pytest.raises(ConflictError) as refused:
        drift_decisions.relink(item.pk, by=owner, order_id=other.request.order_id)
    assert refused.value.code == "STATE_CONFLICT"


def test_what_was_asked_about_the_id_before_proves_nothing_about_the_linked_one(
    feed: Feed,
    alice: ExecutionConnection,
    wire: runtime.Runtime,
    broker: Double,
    owner: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cast.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    (outgoing,) = cast.claim_all()
    cast.pass_time(61)
    take_over("another")
    ask_brokers(wire.wire)
    order = Order.objects.get(status="UNKNOWN", proofs=1)
    cast.pass_time(61)
    asked: list[Errand] = []
    with monkeypatch.context() as slowly:
        slowly.setattr(wire.wire.errands, "start", asked.extend)
        ask_brokers(wire.wire)
    tag = outgoing.request.client_order_id[:3]
    broker.rest(replace(outgoing.request, client_order_id=tag + TAGGED))
    drift_decisions.relink(found("UNKNOWN_ORDER").pk, by=owner, order_id=order.pk)
    settle_lookups([Done(one, None) for one in asked])
    order.refresh_from_db()
    assert (order.status, order.proofs) == ("UNKNOWN", 0)
    ask_brokers(wire.wire)
    order.refresh_from_db()
    assert (order.status, order.client_order_id) == ("SUBMITTED", tag + TAGGED)


@pytest.mark.parametrize("cid", ["rewritten", TAGGED])
def test_an_entry_of_a_restored_database_that_was_sent_after_all(
    position: ExecutionPosition, broker: Double, feed: Feed, owner: User, cid: str
) -> None:
    """The backup shows it unsent and never sized; a person sees that the broker has it."""
    forgotten = cast.signal(feed)
    Order.objects.filter(signal=forgotten).update(
        status="EXPIRED", reason="RESTORED_UNSENT", done_at="2020-01-01T00:00Z"
    )
    ticket = stranger(broker, cid=tag(broker) if cid == TAGGED else cid)
    item = found("UNKNOWN_POSITION")
    order = Order.objects.get(signal=forgotten)
    drift_decisions.relink(item.pk, by=owner, order_id=order.pk)
    ask_brokers(runtime.present().wire)
    order.refresh_from_db()
    assert (order.status, order.filled_quantity, order.symbol) == ("FILLED", 50, "EURUSD")
    opened = ExecutionPosition.objects.get(signal=forgotten)
    assert (opened.quantity, opened.broker_position_id) == (50, ticket.number)
    settled(broker)


def test_an_unknown_position_is_really_one_of_ours_under_another_number(
    position: ExecutionPosition, broker: Double, owner: User
) -> None:
    broker.fills_horizon = None
    ticket = broker.tickets[0]
    item_of = ExecutionPosition.objects.filter(pk=position.pk)
    stranger(broker)
    unknown = found("UNKNOWN_POSITION")
    with pytest.raises(FillcastError) as refused:
        drift_decisions.relink(unknown.pk, by=owner, position_id=position.pk)
    assert refused.value.code == "DRIFT_TARGET_UNFIT"  # its own number is there as well
    broker.tickets.pop()
    DriftItem.objects.all().delete()
    ticket.number = "777"
    ticket.request = replace(ticket.request, client_order_id="rewritten")
    item = found("UNKNOWN_POSITION")
    drift_decisions.relink(item.pk, by=owner, position_id=position.pk)
    assert item_of.get().broker_position_id == "777"
    settled(broker)


@pytest.mark.parametrize("target", ["order_id", "position_id"])
def test_what_does_not_fit_is_refused(
    position: ExecutionPosition, broker: Double, owner: User, target: str
) -> None:
    stranger(broker)
    item = found("UNKNOWN_POSITION")
    with pytest.raises(FillcastError) as refused:
        drift_decisions.relink(item.pk, by=owner, **{target: 999_999})
    assert refused.value.code == "DRIFT_TARGET_UNFIT"
    with pytest.raises(InvalidInputError):
        drift_decisions.relink(item.pk, by=owner)
