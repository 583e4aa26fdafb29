"""Positions that are closed by what becomes of another signal: on each account, and once."""

from decimal import Decimal as D
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from brokers.base import NotSent
from brokers.types import ReportKind
from common.errors import ConflictError, InvalidInputError
from common.reason_codes import Code
from connections.models import ExecutionConnection
from connections.services import RouteAccount, set_route
from execution.models import Order, SlicePlan
from execution.monitoring.condition_exits import close_settled
from execution.monitoring.pending_actions import process_pending_actions
from execution.reports.position_rebuild import rebuild_positions
from execution.runtime.trading_runtime import TradingRuntime
from positions.api import PositionSerializer
from positions.models import ExecutionPosition
from signals.models import Action, AfterState, Direction, Feed, Origin, Signal
from signals.publishing.ingest import save_draft
from signals.reading.draft import SignalDraft
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.django_db
LIMIT: dict[str, Any] = {"order_type": "LIMIT", "open_price": D("1.095")}


@pytest.fixture
def other(alice: ExecutionConnection, feed: Feed, runtime: TradingRuntime) -> Signal:
    """A limit buy that works at the broker."""
    signal = factories.signal(feed, **LIMIT)
    rest()
    return signal


def rest() -> None:
    broker = factories.fake_broker()
    for outgoing in factories.claim_all():
        factories.answer(outgoing, broker.rest(outgoing.request))


def position_of(signal: Signal) -> ExecutionPosition:
    return ExecutionPosition.objects.get(signal=signal)


def entry_of(signal: Signal) -> Order:
    return Order.objects.get(signal=signal, leg="entry")


def bought(other: Signal, state: str = "FILLED") -> ExecutionPosition:
    """A position that is closed once the account has done with the other signal what state says."""
    signal = factories.signal(other.feed, close_when_signal=other, close_when_state=state)
    return factories.filled(signal)


def fill(other: Signal) -> ExecutionPosition:
    broker, sent_as = factories.fake_broker(), entry_of(other).client_order_id
    [ticket] = [one for one in broker.tickets if one.request.client_order_id == sent_as]
    factories.apply(broker.execute(ticket))
    return position_of(other)


def close(position: ExecutionPosition, reason: str) -> None:
    """Close a position of the other signal by its stop, its target or by hand."""
    ExecutionPosition.objects.filter(pk=position.pk).update(
        quantity=0, reserved=0, close_reason=reason, closed_at="2026-03-02T12:00:00Z"
    )


def modify(of: Signal, **fields: Any) -> Signal:
    return factories.signal(
        of.feed, action="MODIFY", refers_to=of, direction=of.direction, sl=None, **fields
    )


# ---- when ----------------------------------------------------------------------------------------
def test_position_is_closed_once_the_other_signal_has_filled(other: Signal) -> None:
    position = bought(other)
    assert close_settled() == []
    assert position.exit_condition_text == f"once S-{other.pk} is filled"
    fill(other)
    [order_id] = close_settled()
    assert close_settled() == []
    order = Order.objects.get(pk=order_id)
    assert (order.leg, order.quantity, order.order_type) == ("when-1", position.quantity, "MARKET")
    assert factories.log_codes(order_id) == [("CONDITION_EXIT", "PENDING")]
    assert order.detail == f"once S-{other.pk} is filled"
    factories.fill_all()
    position.refresh_from_db()
    assert (position.quantity, position.close_reason) == (0, "condition_exit")
    rebuild_positions([order_id])  # from its fills, as after a correction
    position.refresh_from_db()
    assert (position.quantity, position.close_reason) == (0, "condition_exit")
    assert position_of(other).quantity == 100


@pytest.mark.parametrize(
    ("state", "closed_by", "outcome"),
    [
        ("CLOSED", "", "waits"),
        ("CLOSED", "owner", "closes"),
        ("CLOSED_AT_STOP", "sl", "closes"),
        ("CLOSED_AT_STOP", "tp", "over"),
        ("CLOSED_AT_TARGET", "tp", "closes"),
        ("CLOSED_AT_TARGET", "sl", "over"),
        ("NOT_FILLED", "", "over"),
    ],
)
def test_state_of_a_signal_that_has_filled(
    other: Signal, state: str, closed_by: str, outcome: str
) -> None:
    position = bought(other, state)
    opened = fill(other)
    if closed_by:
        close(opened, closed_by)
    assert len(close_settled()) == (1 if outcome == "closes" else 0)
    position.refresh_from_db()
    assert position.close_when_over == (outcome == "over")
    assert position.exit_condition_text.endswith("any more") == (outcome == "over")
    assert PositionSerializer(position).data["close_when_over"] == (outcome == "over")


@pytest.mark.parametrize("state", AfterState.values)
def test_state_of_a_signal_that_has_ended_without_a_fill(other: Signal, state: str) -> None:
    position = bought(other, state)
    assert close_settled() == []
    factories.apply(factories.report(entry_of(other), ReportKind.CANCELLED))
    assert len(close_settled()) == (1 if state == "NOT_FILLED" else 0)
    position.refresh_from_db()
    assert position.close_when_over == (state != "NOT_FILLED")


def test_each_account_is_closed_by_its_own_state(other: Signal, feed: Feed) -> None:
    """Of two accounts one has no order of the other signal: it subscribed later."""
    factories.account(feed)
    signal = factories.signal(feed, close_when_signal=other, close_when_state="FILLED")
    factories.fill_all()
    fill(other)
    [exit_id] = close_settled()
    exit_ = Order.objects.get(pk=exit_id)
    assert exit_.connection_id == entry_of(other).connection_id
    late = ExecutionPosition.objects.exclude(connection=exit_.connection_id).get(signal=signal)
    assert (late.is_open, late.close_when_over, late.reserved) == (True, True, 0)


def test_exit_that_failed_is_written_again_after_a_while(other: Signal) -> None:
    bought(other)
    fill(other)
    [first] = close_settled()
    factories.force(
        "UPDATE execution_order SET status = 'REJECTED', done_at = now() WHERE id = %s", (first,)
    )
    factories.force("UPDATE positions_executionposition SET reserved = 0")
    assert close_settled() == []
    factories.force("UPDATE execution_order SET done_at = now() - interval '31 seconds'"
                    " WHERE id = %s", (first,))  # fmt: skip
    [second] = close_settled()
    assert Order.objects.get(pk=second).leg == "when-2"


# ---- entries -------------------------------------------------------------------------------------
def test_entry_that_works_is_cancelled_and_one_that_waits_ends(
    other: Signal, feed: Feed, broker: FakeBroker
) -> None:
    named: dict[str, Any] = {"close_when_signal": other, "close_when_state": "FILLED"}
    working = entry_of(factories.signal(feed, **LIMIT, **named))
    rest()
    waiting = entry_of(factories.signal(feed, **LIMIT, **named))
    fill(other)
    assert close_settled() == []
    for order in (working, waiting):
        order.refresh_from_db()
    assert (working.status, working.pending_action) == ("SUBMITTED", "CANCEL")
    assert (waiting.status, waiting.reason) == ("CANCELLED", "CONDITION_EXIT")
    assert [event["code"] for event in factories.events("order.cancelled")] == ["CONDITION_EXIT"]
    process_pending_actions()
    working.refresh_from_db()
    assert working.status == "CANCELLED"


def test_entry_whose_position_would_be_closed_at_once_is_not_sent(
    other: Signal, feed: Feed, broker: FakeBroker
) -> None:
    fill(other)
    signal = factories.signal(feed, close_when_signal=other, close_when_state="FILLED")
    assert factories.claim_all() == []
    order = entry_of(signal)
    assert (order.status, order.reason) == ("CANCELLED", "CONDITION_EXIT")
    assert order.detail == f"once S-{other.pk} is filled"


def test_partly_filled_entry_is_closed_and_its_rest_cancelled(
    other: Signal, feed: Feed, broker: FakeBroker
) -> None:
    signal = factories.signal(feed, close_when_signal=other, close_when_state="FILLED", **LIMIT)
    rest()
    factories.apply(broker.execute(broker.tickets[-1], D(40)))
    fill(other)
    [exit_id] = close_settled()
    assert Order.objects.get(pk=exit_id).quantity == 40
    assert entry_of(signal).pending_action == "CANCEL"
    factories.apply(broker.execute(broker.tickets[-1], D(60)))  # it was faster than the cancel
    [more] = close_settled()
    assert Order.objects.get(pk=more).quantity == 60


def test_slices_that_are_not_sent_end_as_well(
    other: Signal, feed: Feed, alice: ExecutionConnection
) -> None:
    factories.force("UPDATE connections_accountsnapshot SET position_mode = 'NETTING'")
    plan: dict[str, Any] = {"execution_style": "TWAP", "duration_seconds": 60, "slice_count": 3}
    factories.signal(feed, close_when_signal=other, close_when_state="FILLED", **plan)
    factories.fill_all()
    fill(other)
    assert len(close_settled()) == 1
    slices = Order.objects.filter(leg__startswith="entry-")
    assert set(slices.values_list("status", "reason")) == {("CANCELLED", "CONDITION_EXIT")}
    assert SlicePlan.objects.count() == 1


# ---- by a signal ---------------------------------------------------------------------------------
def test_modify_names_the_signal_for_open_and_coming_positions(
    other: Signal, feed: Feed, broker: FakeBroker
) -> None:
    signal = factories.signal(feed)
    position = factories.filled(signal)
    unfilled = factories.signal(feed, **LIMIT)
    rest()
    for opened in (signal, unfilled):
        modify(opened, close_when_signal=other, close_when_state="CLOSED")
    position.refresh_from_db()
    assert position.exit_condition_text == f"once S-{other.pk} is closed"
    factories.apply(broker.execute(broker.tickets[-1]))
    assert position_of(unfilled).close_when_state == "CLOSED"
    close(fill(other), "owner")
    assert len(close_settled()) == 2


def test_later_modify_replaces_a_condition_that_is_over(other: Signal, feed: Feed) -> None:
    position = bought(other, "NOT_FILLED")
    fill(other)
    assert close_settled() == []
    modify(position.signal, close_when_signal=other, close_when_state="FILLED")
    position.refresh_from_db()
    assert not position.close_when_over
    assert len(close_settled()) == 1


def test_routed_position_is_closed_by_its_subscribers_state(
    alice: ExecutionConnection, feed: Feed, runtime: TradingRuntime
) -> None:
    spare = factories.account(owner=alice.user)
    route = [RouteAccount(alice.pk), RouteAccount(spare.pk)]
    first = factories.signal(feed)
    factories.fill_all()
    set_route(alice.subscriptions.get().pk, by=alice.user, policy="HEALTH", accounts=route)
    signal = factories.signal(feed, close_when_signal=first, close_when_state="CLOSED")
    [outgoing] = factories.claim_all()
    factories.answer(outgoing, NotSent(Code.NOT_CONNECTED))
    factories.force("UPDATE execution_order SET due_at = now() WHERE status = 'PENDING'")
    factories.claim_all()  # it moves
    factories.fill_all()
    position = position_of(signal)
    assert position.connection_id == spare.pk
    assert close_settled() == []
    close(position_of(first), "sl")
    assert len(close_settled()) == 1


# ---- bad input -----------------------------------------------------------------------------------
def test_faults_are_refused_before_anything_is_stored(other: Signal, feed: Feed) -> None:
    stored = Signal.objects.count()
    usual: dict[str, Any] = {
        "pair": "EUR/USD",
        "direction": Direction.BUY,
        "close_when_state": "CLOSED",
    }
    for draft, field in (
        (SignalDraft(**usual, close_when_signal=10**9), "close_when_signal"),
        (
            SignalDraft(**usual, close_when_signal_external_id="x"),
            "close_when_signal_external_id",
        ),
        (
            SignalDraft(
                action=Action.MODIFY, refers_to=other.pk, close_when_signal=other.pk,
                close_when_state="CLOSED",
            ),
            "close_when_signal",
        ),
    ):  # fmt: skip
        with pytest.raises(InvalidInputError) as refusal:
            save_draft(feed, draft, origin=Origin.API, by=None)
        assert refusal.value.field == field
    assert Signal.objects.count() == stored
    unpublished, _ = save_draft(
        feed, SignalDraft(pair="EUR/USD", direction=Direction.BUY), origin=Origin.API, by=None
    )
    awaiting = make.signal(feed, close_when_signal=unpublished, close_when_state="CLOSED")
    with pytest.raises(ConflictError) as early:
        factories.published(awaiting)
    assert early.value.code == "SIGNAL_NOT_PUBLISHED"


@pytest.mark.parametrize(
    "fields",
    [
        {"close_when_state": "CLOSED"},
        {"close_when_state": "OPEN"},
        {"close_when_signal": True},
        {"close_when_signal": True, "close_when_state": "CLOSED", "action": "CLOSE"},
    ],
)
def test_database_keeps_only_whole_conditions(
    other: Signal, feed: Feed, fields: dict[str, Any]
) -> None:
    if "close_when_signal" in fields:
        fields = fields | {"close_when_signal": other}
    with pytest.raises(IntegrityError), transaction.atomic():
        Signal.objects.create(
            feed=feed, currency_pair="EUR/USD", direction="BUY", refers_to=other, **fields
        )
