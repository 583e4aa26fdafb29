"""CLOSE, MODIFY and cancel meet an order in each of its states; wishes outlive refusals."""

from decimal import Decimal as D
from typing import Any

import pytest

from brokers.base import NotSent, OutcomeUnknown, Rejected
from brokers.types import ReportKind
from common.reason_codes import Code
from common.sql import run
from connections.models import ExecutionConnection
from execution.models import Order
from execution.monitoring.pending_actions import process_pending_actions
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
    """Published; its order waits to be sent."""
    return factories.signal(feed)


def entry() -> Order:
    return Order.objects.get(leg="entry")


def state() -> tuple[str, str]:
    return entry().status, entry().pending_action


def close(of: Signal) -> int:
    """Publish the CLOSE; returns how many candidates it had."""
    return factories.close_signal(of).candidate_count or 0


# ---- CLOSE ----
def test_close_of_what_is_not_sent_cancels_it(signal: Signal) -> None:
    assert close(signal) == 1
    assert (entry().status, entry().reason) == ("CANCELLED", "CLOSED_BEFORE_SENT")
    assert factories.claim_all() == []


def test_close_of_what_is_on_its_way_waits_for_the_answer_and_closes(
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


def test_close_of_what_was_then_not_sent_cancels_it(signal: Signal) -> None:
    (outgoing,) = factories.claim_all()
    close(signal)
    factories.answer(outgoing, NotSent(Code.NOT_CONNECTED))
    factories.pass_time(10)
    assert factories.claim_all() == []
    process_pending_actions()
    assert (entry().status, entry().reason) == ("CANCELLED", "CLOSED_BEFORE_SENT")


def test_close_of_what_nobody_knows_runs_when_it_is_known(
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


def test_close_of_what_rests_cancels_it_and_closes_what_had_filled(
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


def test_a_fill_that_meets_the_cancel_is_closed_too(signal: Signal, broker: FakeBroker) -> None:
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, broker.rest(outgoing.request))
    close(signal)
    fill = broker.execute(broker.tickets[0])
    process_pending_actions()
    assert state() == ("FILLED", "CLOSE")  # the refused cancel brought the fill
    factories.apply(fill)
    factories.pass_time(6)
    process_pending_actions()
    factories.fill_all()
    assert (ExecutionPosition.objects.get().quantity, state()[1]) == (0, "")


def test_a_fill_that_comes_after_the_close_is_done_is_closed_too(
    signal: Signal, broker: FakeBroker
) -> None:
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


def test_close_of_what_is_filled_is_an_exit_at_once(signal: Signal) -> None:
    factories.fill_all()
    closing = factories.close_signal(signal)
    leaving = Order.objects.exits().get()
    assert (leaving.quantity, leaving.signal_id, leaving.leg) == (100, closing.pk, "close-1")
    assert closing.candidate_count == 1


def test_a_partial_close_takes_a_share_and_cancels_nothing(
    signal: Signal, broker: FakeBroker
) -> None:
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, broker.rest(outgoing.request))
    factories.apply(broker.execute(broker.tickets[0], D(40)))
    factories.close_signal(signal, "0.5")
    assert Order.objects.exits().get().quantity == 20
    assert state() == ("PARTIALLY_FILLED", "")


def test_close_reaches_who_is_no_subscriber_any_more(
    signal: Signal, alice: ExecutionConnection
) -> None:
    factories.fill_all()
    alice.subscriptions.all().delete()
    assert close(signal) == 1


@pytest.mark.parametrize("status", ["SKIPPED", "DENIED", "REJECTED", "FAILED"])
def test_close_of_what_never_was_has_no_candidates(signal: Signal, status: str) -> None:
    with factories.without_triggers():
        Order.objects.update(status=status, quantity=100)
    assert close(signal) == 0
    assert entry().status == status


# ---- cancel ----
def test_a_cancelled_signal_withdraws_what_is_not_filled_and_keeps_what_is(
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


def test_a_cancel_without_an_answer_is_asked_again(signal: Signal, broker: FakeBroker) -> None:
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


def test_a_refused_cancel_goes_back_to_what_it_was(signal: Signal, broker: FakeBroker) -> None:
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, broker.rest(outgoing.request))
    cancel_order(entry().pk)
    broker.cancelling = "refuse"
    process_pending_actions()
    assert entry().status == "SUBMITTED"


def test_one_brokers_failure_does_not_keep_another_from_cancelling(
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


def test_two_unsent_exits_that_are_cancelled_together_both_give_back(
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
def test_modify_moves_the_levels_of_what_is_open_and_of_what_will_be(
    signal: Signal, feed: Feed, broker: FakeBroker
) -> None:
    (outgoing,) = factories.claim_all()
    factories.signal(feed, action="MODIFY", refers_to=signal, sl=D("1.095"))
    factories.answer(outgoing, broker.fill_at_once(outgoing.request))
    assert ExecutionPosition.objects.get().sl == D("1.095")
    moved = factories.signal(feed, action="MODIFY", refers_to=signal, sl=D("1.097"))
    assert (ExecutionPosition.objects.get().sl, moved.candidate_count) == (D("1.097"), 1)


def test_a_broker_that_guards_the_stop_is_told(
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


def test_an_entry_that_is_refused_ends_the_wish(signal: Signal) -> None:
    (outgoing,) = factories.claim_all()
    close(signal)
    factories.answer(outgoing, Rejected(Code.NO_MONEY))
    factories.pass_time(2)
    process_pending_actions()
    assert state() == ("REJECTED", "")


def test_an_acceptance_after_the_cancel_was_asked_changes_nothing(
    signal: Signal, broker: FakeBroker
) -> None:
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, broker.rest(outgoing.request))
    cancel_order(entry().pk)
    broker.cancelling = "silent"
    process_pending_actions()
    factories.apply(factories.report(entry(), ReportKind.ACCEPTED))
    assert entry().status == "CANCEL_REQUESTED"
