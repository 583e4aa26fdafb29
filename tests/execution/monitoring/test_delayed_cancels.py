"""Cancels that cannot be sent or are refused: reported once, logged as requested if they were."""

from typing import Any

import pytest

from brokers.base import NotSent
from common.db.sql import database_now, run
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution.models import Order, PendingAction
from execution.monitoring.pending_actions import END_ACTIONS, process_pending_actions
from execution.recovery import stale_orders
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import cancel_order
from signals.models import Feed
from tests.execution import factories
from tests.execution.busy_host import give_up_queued, occupied
from tests.execution.dispatch.test_background_calls import resting
from tests.execution.fake_broker import FakeBroker
from tests.until import until

pytestmark = pytest.mark.usefixtures("inline_commits")


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (PendingAction.CANCEL, Code.OWNER_CANCELLED),
        (PendingAction.CLOSE, Code.CLOSED_BEFORE_SENT),
        (PendingAction.EXPIRE, Code.SIGNAL_EXPIRED),
        (PendingAction.PASSED, Code.LEVEL_PAST_ENTRY),
    ],
)
def test_cancel_of_what_was_never_sent_states_why(
    alice: ExecutionConnection, feed: Feed, runtime: TradingRuntime, action: str, reason: str
) -> None:
    factories.signal(feed)
    run("UPDATE execution_order SET pending_action = %s", (action,))
    process_pending_actions()
    order = Order.objects.get()
    assert (order.status, order.reason) == ("CANCELLED", reason)
    assert factories.log_codes(order.pk)[-1] == (reason, "CANCELLED")


def process_cancels(trading: TradingRuntime, order: Order, *, has_slot: bool) -> None:
    """Run one round until its outcome is written."""
    process_pending_actions()
    if not has_slot:
        give_up_queued(trading)
    until(lambda: ("cancel", order.pk) not in trading.dispatcher.background_calls._in_flight)
    assert trading.report_writer.drain(60)


def requests_logged(order: Order) -> int:
    return [code for code, _ in factories.log_codes(order.pk)].count("CANCEL_REQUESTED")


def state(order: Order) -> tuple[str, str, int]:
    order.refresh_from_db()
    return order.status, order.reason, order.pending_action_attempts


def test_cancel_without_a_slot_is_reported_and_never_logged_as_requested(
    alice: ExecutionConnection,
    feed: Feed,
    trading: TradingRuntime,
    broker: FakeBroker,
) -> None:
    factories.signal(feed)
    resting(trading, broker)
    order = Order.objects.get()
    cancel_order(order.pk)
    with occupied(trading, alice.broker_host):
        for _ in range(3):
            process_cancels(trading, order, has_slot=False)
            factories.pass_time(3)
            stale_orders.resolve_stuck()
        assert state(order) == ("SUBMITTED", "", 0)
        assert factories.events("order.stuck") == []
        factories.pass_time(60)
        for _ in range(2):
            stale_orders.resolve_stuck()
            process_cancels(trading, order, has_slot=False)
            factories.pass_time(3)
        print(state(order), factories.events("order.stuck"), "logged", requests_logged(order))
        assert state(order) == ("SUBMITTED", "CANCEL_DELAYED", 0)
        assert factories.events("order.stuck") == [{"code": "CANCEL_DELAYED"}]
        assert ("CANCEL_DELAYED", "SUBMITTED") in factories.log_codes(order.pk)
        assert order.lookup_after is not None
        assert requests_logged(order) == 0
        assert broker.calls.count(("cancel", order.client_order_id or "")) == 0
    process_cancels(trading, order, has_slot=True)
    assert state(order)[0] == "CANCELLED"
    assert requests_logged(order) == 1
    stale_orders.resolve_stuck()
    assert factories.events("order.stuck") == [{"code": "CANCEL_DELAYED"}]


@pytest.fixture
def working(
    alice: ExecutionConnection, feed: Feed, runtime: TradingRuntime, broker: FakeBroker
) -> Order:
    """An entry that works at the broker and has a pending cancel."""
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, broker.rest(outgoing.request))
    order = Order.objects.get()
    cancel_order(order.pk)
    return order


def test_cancel_that_never_left_is_not_a_request_without_an_answer(
    working: Order, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its account has no session: the adapter proves that nothing was sent."""

    async def refuse(*_: Any) -> Any:
        raise NotSent(Code.NOT_CONNECTED)

    monkeypatch.setattr(broker, "cancel", refuse)
    began, passed = database_now(), 0.0
    for _ in range(6):
        before = database_now()
        process_pending_actions()
        after = database_now()
        working.refresh_from_db()
        assert working.due_at is not None
        least, most = ((working.due_at - at).total_seconds() for at in (after, before))
        # Half of the time since it was due, at least 5 s. A slow machine adds to that time.
        real = (after - began).total_seconds()
        assert least <= max(5.0, (passed + real) / 2)
        assert most >= max(5.0, passed / 2)
        factories.pass_time(max(5.0, passed / 2) + 1)
        passed += max(5.0, passed / 2) + 1
        stale_orders.resolve_stuck()
    print(state(working), factories.events("order.stuck"), "logged", requests_logged(working))
    assert state(working) == ("SUBMITTED", "CANCEL_DELAYED", 0)
    assert requests_logged(working) == 0
    assert factories.events("order.stuck") == [{"code": "CANCEL_DELAYED"}]


def test_cancel_that_is_refused_again_and_again_is_reported_once(
    working: Order, broker: FakeBroker
) -> None:
    broker.cancelling = "refuse"
    for _ in range(7):
        process_pending_actions()
        stale_orders.resolve_stuck()
        factories.pass_time(31)
    print(factories.events("order.stuck"))
    assert factories.events("order.stuck") == [{"code": "CANCEL_UNANSWERED"}]
    assert requests_logged(working) == 7


def test_later_cancel_without_an_answer_is_reported_as_well(
    working: Order, broker: FakeBroker
) -> None:
    broker.cancelling = "silent"
    for times in (1, 2):
        for _ in range(4):
            process_pending_actions()
            stale_orders.resolve_stuck()
            factories.pass_time(31)
        assert factories.events("order.stuck") == [{"code": "CANCEL_UNANSWERED"}] * times
        factories.force("UPDATE execution_executionlog SET at = at - interval '600 seconds'")
        run(END_ACTIONS, ([working.pk],))
        cancel_order(working.pk)


def test_cancel_delayed_and_then_unanswered_is_reported_for_each(
    working: Order, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any) -> Any:
        raise NotSent(Code.NOT_CONNECTED)

    with monkeypatch.context() as for_now:
        for_now.setattr(broker, "cancel", refuse)
        process_pending_actions()
        factories.pass_time(61)
        stale_orders.resolve_stuck()
    broker.cancelling = "silent"
    for _ in range(4):
        process_pending_actions()
        stale_orders.resolve_stuck()
        factories.pass_time(31)
    assert factories.events("order.stuck") == [
        {"code": "CANCEL_DELAYED"},
        {"code": "CANCEL_UNANSWERED"},
    ]
    assert state(working)[0] == "CANCEL_REQUESTED"


def test_cancel_in_a_lane_that_no_process_holds_is_reported(
    alice: ExecutionConnection, feed: Feed, trading: TradingRuntime, broker: FakeBroker
) -> None:
    factories.signal(feed)
    resting(trading, broker)
    order = Order.objects.get()
    ExecutionConnection.objects.update(lane="unowned")
    cancel_order(order.pk)
    for seconds in (30, 31, 31):
        process_pending_actions()
        factories.pass_time(seconds)
        stale_orders.resolve_stuck()
    assert state(order) == ("SUBMITTED", "CANCEL_DELAYED", 0)
    assert factories.events("order.stuck") == [{"code": "CANCEL_DELAYED"}]
    assert requests_logged(order) == 0
    assert "no session worker is running for it" in Code.CANCEL_DELAYED.sentence
