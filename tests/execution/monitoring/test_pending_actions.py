"""CLOSE, MODIFY and cancel for an order in each status; pending actions survive rejections."""

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.base import NotSent, OutcomeUnknown, Rejected
from brokers.types import ReportKind
from common.db.sql import run
from common.reason_codes import Code
from connections.models import ExecutionConnection
from connections.services import set_kill_switch
from execution.models import Order
from execution.monitoring.pending_actions import process_pending_actions
from execution.recovery import sweeps
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import cancel_order, close_position
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from signals.services import cancel
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.django_db


@pytest.fixture
def signal(alice: ExecutionConnection, feed: Feed, runtime: TradingRuntime) -> Signal:
    """A published signal; its order waits to be sent."""
    return factories.signal(feed)


def entry() -> Order:
    return Order.objects.get(leg="entry")


def state() -> tuple[str, str]:
    return entry().status, entry().pending_action


def close(of: Signal) -> int:
    """Publish the CLOSE; return its number of candidates."""
    return factories.close_signal(of).candidate_count or 0


# ---- CLOSE ----
def test_close_of_an_unsent_order_cancels_it(signal: Signal) -> None:
    assert close(signal) == 1
    assert (entry().status, entry().reason) == ("CANCELLED", "CLOSED_BEFORE_SENT")
    assert factories.claim_all() == []


def test_close_of_an_order_in_flight_waits_for_the_answer_and_closes(
    signal: Signal, broker: FakeBroker
) -> None:
    (outgoing,) = factories.claim_all()
    assert close(signal) == 1
    assert state() == ("SUBMITTING", "CLOSE")
    assert process_pending_actions() == []
    factories.answer(outgoing, broker.fill_at_once(outgoing.request))
    factories.pass_time(2)
    assert len(process_pending_actions()) == 1
    factories.fill_all()
    assert (state(), ExecutionPosition.objects.get().quantity) == (("FILLED", ""), 0)


def test_close_of_an_order_in_flight_that_was_not_sent_cancels_it(signal: Signal) -> None:
    (outgoing,) = factories.claim_all()
    close(signal)
    factories.answer(outgoing, NotSent(Code.NOT_CONNECTED))
    factories.pass_time(10)
    assert factories.claim_all() == []
    process_pending_actions()
    assert (entry().status, entry().reason) == ("CANCELLED", "CLOSED_BEFORE_SENT")


def test_close_of_an_unknown_order_runs_when_its_status_is_known(
    signal: Signal, broker: FakeBroker
) -> None:
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, OutcomeUnknown(Code.REPLY_LOST))
    assert close(signal) == 1
    assert state() == ("UNKNOWN", "CLOSE")
    factories.apply(*broker.fill_at_once(outgoing.request))
    process_pending_actions()
    factories.fill_all()
    assert ExecutionPosition.objects.get().quantity == 0


def test_close_of_a_working_order_cancels_it_and_closes_the_filled_part(
    signal: Signal, broker: FakeBroker
) -> None:
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, broker.rest(outgoing.request))
    factories.apply(broker.execute(broker.tickets[0], D(40)))
    assert close(signal) == 1
    assert Order.objects.exits().get().quantity == 40
    process_pending_actions()
    assert (entry().status, entry().filled_quantity) == ("CANCELLED", 40)
    factories.fill_all()
    assert ExecutionPosition.objects.get().quantity == 0


def test_fill_before_the_cancel_is_closed_too(signal: Signal, broker: FakeBroker) -> None:
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, broker.rest(outgoing.request))
    close(signal)
    fill = broker.execute(broker.tickets[0])
    process_pending_actions()
    assert state() == ("FILLED", "CLOSE")  # the rejected cancel reported the fill
    factories.apply(fill)
    factories.pass_time(6)
    process_pending_actions()
    factories.fill_all()
    assert (ExecutionPosition.objects.get().quantity, state()[1]) == (0, "")


def test_fill_after_the_close_is_closed_too(signal: Signal, broker: FakeBroker) -> None:
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, broker.rest(outgoing.request))
    close(signal)
    process_pending_actions()
    factories.pass_time(6)
    process_pending_actions()
    assert state() == ("CANCELLED", "")
    factories.apply(factories.fill_report(entry(), 30, "late"))
    assert len(process_pending_actions()) == 1
    assert Order.objects.exits().get().quantity == 30


def test_close_of_a_filled_order_is_an_immediate_exit(signal: Signal) -> None:
    factories.fill_all()
    closing = factories.close_signal(signal)
    leaving = Order.objects.exits().get()
    assert (leaving.quantity, leaving.signal_id, leaving.leg) == (100, closing.pk, "close-1")
    assert closing.candidate_count == 1


def test_partial_close_takes_a_share_and_cancels_nothing(
    signal: Signal, broker: FakeBroker
) -> None:
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, broker.rest(outgoing.request))
    factories.apply(broker.execute(broker.tickets[0], D(40)))
    factories.close_signal(signal, "0.5")
    assert Order.objects.exits().get().quantity == 20
    assert state() == ("PARTIALLY_FILLED", "")


def test_close_reaches_a_former_subscriber(signal: Signal, alice: ExecutionConnection) -> None:
    factories.fill_all()
    alice.subscriptions.all().delete()
    assert close(signal) == 1


@pytest.mark.parametrize("status", ["SKIPPED", "DENIED", "REJECTED", "FAILED"])
def test_close_of_a_signal_without_orders_has_no_candidates(signal: Signal, status: str) -> None:
    with factories.without_triggers():
        Order.objects.update(status=status, quantity=100)
    assert close(signal) == 0
    assert entry().status == status


# ---- cancel ----
def test_cancelled_order_whose_reply_was_lost_is_still_looked_up(
    signal: Signal, broker: FakeBroker, runtime: TradingRuntime
) -> None:
    """Its first fill was in the lost reply; the stream reports the second, the cancel none."""
    (outgoing,) = factories.claim_all()
    broker.execute(broker.receive(outgoing.request), D(40))
    factories.answer(outgoing, OutcomeUnknown(Code.REPLY_LOST))
    factories.apply(replace(broker.execute(broker.tickets[0], D(30)), event_id="streamed"))
    close(signal)
    process_pending_actions()
    assert (state()[0], entry().filled_quantity) == ("CANCELLED", 30)
    factories.pass_time(60)
    sweeps.query_unknown_orders(runtime.dispatcher)
    assert (entry().filled_quantity, entry().lookup_after) == (70, None)


def test_cancelled_signal_cancels_unfilled_orders_and_keeps_fills(
    signal: Signal, broker: FakeBroker
) -> None:
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, broker.rest(outgoing.request))
    factories.apply(broker.execute(broker.tickets[0], D(40)))
    cancel(signal.pk, by=None)
    assert state() == ("PARTIALLY_FILLED", "CANCEL")
    process_pending_actions()
    assert state() == ("CANCELLED", "CANCEL")
    factories.pass_time(6)
    process_pending_actions()
    assert state() == ("CANCELLED", "")
    assert (ExecutionPosition.objects.get().quantity, Order.objects.exits().count()) == (40, 0)


def test_unanswered_cancel_is_retried(signal: Signal, broker: FakeBroker) -> None:
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, broker.rest(outgoing.request))
    cancel_order(entry().pk)
    broker.cancelling = "silent"
    process_pending_actions()
    assert state() == ("CANCEL_REQUESTED", "CANCEL")
    process_pending_actions()
    assert [name for name, _ in broker.calls].count("cancel") == 1
    broker.cancelling = "take"
    factories.pass_time(6)
    process_pending_actions()
    assert entry().status == "CANCELLED"


def test_rejected_cancel_restores_the_previous_status(signal: Signal, broker: FakeBroker) -> None:
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, broker.rest(outgoing.request))
    cancel_order(entry().pk)
    broker.cancelling = "refuse"
    process_pending_actions()
    assert entry().status == "SUBMITTED"


def test_failure_of_one_broker_does_not_prevent_cancels_at_another(
    feed: Feed, runtime: TradingRuntime, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = factories.account(feed), factories.account(feed)
    signal = factories.signal(feed)
    for outgoing in factories.claim_all():
        factories.answer(outgoing, broker.rest(outgoing.request))
    cancel(signal.pk, by=None)
    real = broker.cancel

    async def half(spec: Any, request: Any) -> Any:
        if spec.connection_id == str(first.pk):
            raise ZeroDivisionError
        return await real(spec, request)

    monkeypatch.setattr(broker, "cancel", half)
    process_pending_actions()
    assert Order.objects.get(connection=first).status == "CANCEL_REQUESTED"
    assert Order.objects.get(connection=second).status == "CANCELLED"


def test_two_unsent_exits_cancelled_together_release_both_reservations(
    signal: Signal, alice: ExecutionConnection
) -> None:
    position = factories.filled(signal)
    close_position(position.pk, fraction=D("0.3"))
    close_position(position.pk, fraction=D("0.3"))
    run("UPDATE execution_order SET pending_action = 'CANCEL' WHERE position_id IS NOT NULL")
    process_pending_actions()
    position.refresh_from_db()
    assert position.reserved == 0


# ---- MODIFY ----
def test_modify_moves_levels_of_positions_and_of_unsent_orders(
    signal: Signal, feed: Feed, broker: FakeBroker
) -> None:
    (outgoing,) = factories.claim_all()
    factories.signal(feed, action="MODIFY", refers_to=signal, sl=D("1.095"))
    factories.answer(outgoing, broker.fill_at_once(outgoing.request))
    assert ExecutionPosition.objects.get().sl == D("1.095")
    moved = factories.signal(feed, action="MODIFY", refers_to=signal, sl=D("1.097"))
    assert (ExecutionPosition.objects.get().sl, moved.candidate_count) == (D("1.097"), 1)


def test_moved_stop_is_sent_to_a_broker_that_guards_it(
    feed: Feed, runtime: TradingRuntime, broker: FakeBroker
) -> None:
    factories.account(feed, settings={"native_stops": True})
    signal = factories.signal(feed)
    factories.fill_all()
    factories.signal(feed, action="MODIFY", refers_to=signal, sl=D("1.095"))
    position = ExecutionPosition.objects.get()
    assert (position.sl, position.broker_sl) == (D("1.095"), D("1.09"))
    process_pending_actions()
    position.refresh_from_db()
    assert position.broker_sl == D("1.095")
    process_pending_actions()
    assert [name for name, _ in broker.calls].count("modify") == 1


def test_rejected_entry_ends_the_pending_action(signal: Signal) -> None:
    (outgoing,) = factories.claim_all()
    close(signal)
    factories.answer(outgoing, Rejected(Code.NO_MONEY))
    factories.pass_time(2)
    process_pending_actions()
    assert state() == ("REJECTED", "")


def test_acceptance_after_the_cancel_request_changes_nothing(
    signal: Signal, broker: FakeBroker
) -> None:
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, broker.rest(outgoing.request))
    cancel_order(entry().pk)
    broker.cancelling = "silent"
    process_pending_actions()
    factories.apply(factories.report(entry(), ReportKind.ACCEPTED))
    assert entry().status == "CANCEL_REQUESTED"


REFUSE_EXITS = (
    "CREATE FUNCTION refuse_exits() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN RAISE EXCEPTION 'no exits today'; END $$",
    "CREATE TRIGGER refuse_exits BEFORE INSERT ON execution_order FOR EACH ROW"
    " WHEN (NEW.position_id IS NOT NULL) EXECUTE FUNCTION refuse_exits()",
)


def test_halt_that_cannot_be_carried_out_holds_up_no_cancel(
    signal: Signal, feed: Feed, broker: FakeBroker
) -> None:
    factories.fill_all()
    resting = factories.signal(feed, order_type="LIMIT", open_price=D("1.05"), sl=D("1.04"))
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, broker.rest(outgoing.request))
    set_kill_switch(scope="ALL", mode="REDUCING", reason="test", by=None, flatten=True)
    order = Order.objects.get(signal=resting)
    cancel_order(order.pk)
    for statement in REFUSE_EXITS:
        run(statement)
    assert process_pending_actions() == []
    order.refresh_from_db()
    assert order.status == "CANCELLED"
    run("DROP TRIGGER refuse_exits ON execution_order")
    assert len(process_pending_actions()) == 1
