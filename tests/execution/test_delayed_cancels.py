"""Cancels that cannot be sent or are refused: reported once, logged as requested if they were."""

from typing import Any

import pytest

from brokers.base import NotSent
from common.codes import Code
from common.sql import rows
from connections.models import ExecutionConnection
from execution.calls import stuck
from execution.calls.runtime import Runtime
from execution.exits.wishes import grant_wishes
from execution.models import Order
from execution.services import cancel_order
from signals.models import Feed
from tests.execution import cast
from tests.execution.double import Double
from tests.execution.slots import occupied
from tests.execution.test_errands import resting, until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def short_calls(settings: Any) -> None:
    """A call may take, and wait for its slot, one second."""
    settings.FILLCAST_CALL_TIMEOUT_SECONDS = 1


def process_cancels(trading: Runtime, order: Order) -> None:
    """One round, until what came of it is written."""
    grant_wishes()
    until(lambda: ("cancel", order.pk) not in trading.wire.errands._under_way)
    assert trading.flusher.drain(20)


def requests_logged(order: Order) -> int:
    return [code for code, _ in cast.log_codes(order.pk)].count("CANCEL_ASKED")


def state(order: Order) -> tuple[str, str, int]:
    order.refresh_from_db()
    return order.status, order.reason, order.wish_tries


def test_cancel_without_a_slot_is_reported_and_never_logged_as_requested(
    short_calls: None, alice: ExecutionConnection, feed: Feed, trading: Runtime, broker: Double
) -> None:
    cast.signal(feed)
    resting(trading, broker)
    order = Order.objects.get()
    cancel_order(order.pk)
    with occupied(trading, alice.broker_host):
        for _ in range(3):
            process_cancels(trading, order)
            cast.pass_time(3)
            stuck.unstick()
        assert state(order) == ("SUBMITTED", "", 0)
        assert cast.events("order.stuck") == []
        cast.pass_time(60)
        for _ in range(2):
            stuck.unstick()
            process_cancels(trading, order)
            cast.pass_time(3)
        print(state(order), cast.events("order.stuck"), "logged", requests_logged(order))
        assert state(order) == ("SUBMITTED", "CANCEL_DELAYED", 0)
        assert cast.events("order.stuck") == [{"code": "CANCEL_DELAYED"}]
        assert ("CANCEL_DELAYED", "SUBMITTED") in cast.log_codes(order.pk)
        assert order.lookup_after is not None
        assert requests_logged(order) == 0
        assert broker.calls.count(("cancel", order.client_order_id or "")) == 0
    process_cancels(trading, order)
    assert state(order)[0] == "CANCELLED"
    assert requests_logged(order) == 1
    stuck.unstick()
    assert cast.events("order.stuck") == [{"code": "CANCEL_DELAYED"}]


@pytest.fixture
def working(alice: ExecutionConnection, feed: Feed, wire: Runtime, broker: Double) -> Order:
    """An entry that works at the broker, and is to be cancelled."""
    cast.signal(feed)
    (outgoing,) = cast.claim_all()
    cast.answer(outgoing, broker.rest(outgoing.request))
    order = Order.objects.get()
    cancel_order(order.pk)
    return order


def test_cancel_that_never_left_is_not_a_request_without_an_answer(
    working: Order, broker: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its account has no session: the adapter proves that nothing was sent."""

    async def refuse(*_: Any) -> Any:
        raise NotSent(Code.NOT_CONNECTED)

    monkeypatch.setattr(broker, "cancel", refuse)
    pauses = []
    for _ in range(6):
        grant_wishes()
        [left] = rows(
            "SELECT extract(epoch FROM due_at - clock_timestamp())::float8 AS s"
            " FROM execution_order"
        )
        pauses.append(left.s)
        cast.pass_time(left.s + 1)
        stuck.unstick()
    # Half of the time since it was due, at least 5 s. A slow machine adds to that time.
    assert pauses == pytest.approx([5, 5, 6, 9.5, 14.75, 22.6], rel=0.2)
    print(state(working), cast.events("order.stuck"), "logged", requests_logged(working))
    assert state(working) == ("SUBMITTED", "CANCEL_DELAYED", 0)
    assert requests_logged(working) == 0
    assert cast.events("order.stuck") == [{"code": "CANCEL_DELAYED"}]


def test_cancel_that_is_refused_again_and_again_is_reported_once(
    working: Order, broker: Double
) -> None:
    broker.cancelling = "refuse"
    for _ in range(7):
        grant_wishes()
        stuck.unstick()
        cast.pass_time(31)
    print(cast.events("order.stuck"))
    assert cast.events("order.stuck") == [{"code": "CANCEL_UNANSWERED"}]
    assert requests_logged(working) == 7


def test_cancel_delayed_and_then_requested_in_vain_is_reported_for_each(
    working: Order, broker: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any) -> Any:
        raise NotSent(Code.NOT_CONNECTED)

    with monkeypatch.context() as for_now:
        for_now.setattr(broker, "cancel", refuse)
        grant_wishes()
        cast.pass_time(61)
        stuck.unstick()
    broker.cancelling = "silent"
    for _ in range(4):
        grant_wishes()
        stuck.unstick()
        cast.pass_time(31)
    assert cast.events("order.stuck") == [{"code": "CANCEL_DELAYED"}, {"code": "CANCEL_UNANSWERED"}]
    assert state(working)[0] == "CANCEL_REQUESTED"


def test_cancel_in_a_lane_that_no_process_holds_is_reported(
    alice: ExecutionConnection, feed: Feed, trading: Runtime, broker: Double
) -> None:
    cast.signal(feed)
    resting(trading, broker)
    order = Order.objects.get()
    ExecutionConnection.objects.update(lane="nobody's")
    cancel_order(order.pk)
    for seconds in (30, 31, 31):
        grant_wishes()
        cast.pass_time(seconds)
        stuck.unstick()
    assert state(order) == ("SUBMITTED", "CANCEL_DELAYED", 0)
    assert cast.events("order.stuck") == [{"code": "CANCEL_DELAYED"}]
    assert requests_logged(order) == 0
    assert "no worker holds the account's lane" in Code.CANCEL_DELAYED.sentence
