"""A routed entry that failed unsent is cancelled before it moves to the next account."""

from collections.abc import Callable

import pytest

from common.errors import ConflictError
from common.reason_codes import Code
from connections import services as connections
from connections.models import ExecutionConnection
from connections.services import HaltTarget
from events.models import Event
from execution import scoped_actions, services
from execution.models import ExecutionLog, Order
from execution.monitoring.halt_actions import halt_impact
from execution.monitoring.pending_actions import process_pending_actions
from execution.runtime.trading_runtime import TradingRuntime
from execution.scoped_actions import ActionRequest, ActionScope
from signals.models import Feed
from tests.execution import factories
from tests.execution.submission.test_routed_entries import fail, moved_on, publish, route, states

pytestmark = pytest.mark.django_db(transaction=True)
ALL = HaltTarget("ALL")


@pytest.fixture
def sent(alice: ExecutionConnection, feed: Feed) -> Order:
    """An entry that is being sent to the first account of two."""
    route(alice, factories.account(owner=alice.user))
    publish(feed)
    assert len(factories.claim_all()) == 1
    return Order.objects.get()


@pytest.fixture
def failed(sent: Order) -> Order:
    fail(sent, Code.NEVER_ARRIVED)
    return sent


def expect_ended(order: Order, detail: str = "") -> None:
    """The entry keeps its failure, its owner gets one message, and no account gets it."""
    assert moved_on() == []
    assert factories.claim_all() == []
    assert states() == [(order.connection_id, "FAILED", "NEVER_ARRIVED", "LAST")]
    line = ExecutionLog.objects.get(order_id=order.pk, code="OWNER_CANCELLED")
    text = "not sent to another account of its route"
    assert (line.status, line.detail) == ("FAILED", f"{text}, {detail}" if detail else text)
    assert Event.objects.filter(kind="order.failed", order_id=order.pk).count() == 1


def test_it_moves_without_a_cancel(failed: Order) -> None:
    impact = halt_impact(ALL)
    assert (impact.queued, impact.working) == (1, 0)
    [moved] = moved_on()
    [outgoing] = factories.claim_all()
    assert Order.objects.get(pk=moved).connection_id != failed.connection_id
    assert outgoing.request.connection_id == str(Order.objects.get(pk=moved).connection_id)


def cancel_everything(order: Order) -> None:
    assert scoped_actions.cancel_all(ALL, by=None) == ([order.pk], 1)


def cancel_and_close_everything(order: Order) -> None:
    request = ActionRequest(ActionScope(), cancels_entries=True, closes_positions=True)
    done = scoped_actions.carry_out(request, by=None)
    assert (done.cancelled, done.ended, done.exits) == ([order.pk], [], [])


def cancel_one(order: Order) -> None:
    assert services.cancel_order(order.pk) == "CANCELLED"


@pytest.mark.parametrize("cancel", [cancel_everything, cancel_and_close_everything, cancel_one])
def test_cancel_ends_the_route(failed: Order, cancel: Callable[[Order], None]) -> None:
    cancel(failed)
    expect_ended(failed)
    assert halt_impact(ALL).waiting == 0
    with pytest.raises(ConflictError, match="FAILED already"):
        services.cancel_order(failed.pk)


@pytest.mark.parametrize("flatten", [False, True])
def test_kill_switch_ends_the_route(failed: Order, runtime: TradingRuntime, flatten: bool) -> None:
    switch = connections.set_kill_switch(
        scope="ALL", reason="test", by=None, mode="REDUCING", cancel_entries=True, flatten=flatten
    )
    process_pending_actions()
    switch.refresh_from_db()
    assert switch.carried_out_at is not None
    connections.release_kill_switch(switch.pk, by=None)
    expect_ended(failed, f"kill switch {switch.pk}")
    failed.refresh_from_db()
    assert failed.pending_action == ""


def test_cancel_before_the_failure_ends_the_route(sent: Order, runtime: TradingRuntime) -> None:
    assert services.cancel_order(sent.pk) == "SUBMITTING"
    fail(sent, Code.NEVER_ARRIVED)
    process_pending_actions()
    expect_ended(sent)
