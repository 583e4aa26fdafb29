"""A routed entry is cancelled before it moves to the next account, while it does, and there."""

from collections.abc import Callable
from decimal import Decimal as D

import pytest

from brokers.base import NotSent
from common.db.sql import IdRow, Query, rows
from common.errors import ConflictError
from common.reason_codes import Code
from connections import services as connections
from connections.models import ExecutionConnection
from connections.services import HaltTarget
from events.models import Event
from execution import services
from execution.models import MAY_MOVE, ExecutionLog, Order, may_move_sql
from execution.monitoring.halt_actions import halt_impact
from execution.monitoring.pending_actions import process_pending_actions
from execution.runtime.trading_runtime import TradingRuntime
from execution.scoped import actions as scoped_actions
from execution.scoped.actions import ActionRequest, ActionScope
from execution.submission.claim import claim
from signals.models import Feed
from tests.changes.concurrent_forms import at_once
from tests.execution import factories
from tests.execution.submission.test_routed_entries import (
    claimed,
    fail,
    moved_on,
    publish,
    route,
    states,
)

pytestmark = pytest.mark.usefixtures("inline_commits")
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


def test_stop_that_is_moved_past_the_price_ends_the_route(
    alice: ExecutionConnection, feed: Feed
) -> None:
    route(alice, factories.account(owner=alice.user))
    opened = publish(feed, order_type="LIMIT", open_price=D("1.095"))
    factories.claim_all()
    order = Order.objects.get()
    fail(order, Code.NEVER_ARRIVED)
    factories.signal(
        feed, action="MODIFY", refers_to=opened, direction=opened.direction, sl=D("1.097")
    )
    assert moved_on() == []
    assert states() == [(order.connection_id, "FAILED", "NEVER_ARRIVED", "LAST")]
    line = ExecutionLog.objects.get(order_id=order.pk, code="LEVEL_PAST_ENTRY")
    assert "stop loss 1.097" in line.detail
    assert Event.objects.filter(kind="order.failed", order_id=order.pk).count() == 1


def test_stop_that_is_moved_past_the_price_before_the_failure_ends_the_route(
    alice: ExecutionConnection, feed: Feed, runtime: TradingRuntime
) -> None:
    route(alice, factories.account(owner=alice.user))
    opened = publish(feed, order_type="LIMIT", open_price=D("1.095"))
    factories.claim_all()
    order = Order.objects.get()
    factories.signal(
        feed, action="MODIFY", refers_to=opened, direction=opened.direction, sl=D("1.097")
    )
    fail(order, Code.NEVER_ARRIVED)
    process_pending_actions()
    assert moved_on() == []
    assert states() == [(order.connection_id, "FAILED", "NEVER_ARRIVED", "LAST")]
    codes = [code for code, _ in factories.log_codes(order.pk)]
    assert codes[-1] == "LEVEL_PAST_ENTRY"
    assert "OWNER_CANCELLED" not in codes


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


# ---- while it moves, and after it has ------------------------------------------------------------
def not_sent(order: Order) -> None:
    """Its broker is not reached, so its next claim sends it to another account."""
    factories.answer(factories.claimed_call(order), NotSent(Code.NOT_CONNECTED))
    factories.force("UPDATE execution_order SET due_at = now() - interval '1 second'")


def cancel_one_of_many(order: Order) -> None:
    assert services.cancel_orders([order.pk]) == [order.pk]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("cancel", [cancel_one, cancel_one_of_many])
@pytest.mark.parametrize("moves", ["after its failure", "by its claim"])
def test_cancel_reaches_an_entry_that_moves_meanwhile(
    sent: Order, cancel: Callable[[Order], None], moves: str
) -> None:
    """The cancel has read the entry on its old account, and waits for its row."""
    if moves == "by its claim":
        not_sent(sent)
    else:
        fail(sent, Code.NEVER_ARRIVED)

    def move() -> None:
        if moves == "by its claim":
            assert len(claim([sent.pk], worker_id=factories.OWNER).moved) == 1
        else:
            assert len(moved_on()) == 1

    assert at_once(sent, lambda: cancel(sent), holder=move) == [None]
    old, new = Order.objects.order_by("id")
    assert (old.route_state, new.route_state) == ("MOVED", "HERE")
    assert (new.status, new.reason) == ("CANCELLED", "OWNER_CANCELLED")
    assert claimed() == []
    assert moved_on() == []


def test_move_that_meets_a_cancel_is_stopped(sent: Order) -> None:
    """The cancel has the row first; the move has read it and waits."""
    not_sent(sent)
    [found] = at_once(
        sent,
        lambda: claim([sent.pk], worker_id=factories.OWNER),
        holder=lambda: cancel_one(sent),
    )
    assert (found.moved, found.outgoing) == ([], [])
    assert states() == [(sent.connection_id, "CANCELLED", "OWNER_CANCELLED", "HERE")]


@pytest.mark.parametrize("is_sent", [False, True])
def test_cancel_of_an_order_that_has_moved_reaches_its_last_account(
    sent: Order, runtime: TradingRuntime, is_sent: bool
) -> None:
    """A page shows the first of three accounts, and the third one has the entry."""
    third = factories.account(owner=sent.connection.user)
    route(sent.connection, *_others(sent), third)
    fail(sent, Code.NEVER_ARRIVED)
    [second] = moved_on()
    fail(Order.objects.get(pk=second), Code.NEVER_ARRIVED)
    [last] = moved_on()
    if is_sent:
        [outgoing] = claimed()
        assert outgoing.request.connection_id == str(third.pk)
    services.cancel_order(sent.pk)
    order = Order.objects.get(pk=last)
    assert order.connection_id == third.pk
    if is_sent:
        assert (order.status, order.pending_action) == ("SUBMITTING", "CANCEL")
    else:
        assert order.status == "CANCELLED"
        with pytest.raises(ConflictError):
            services.cancel_order(sent.pk)


@pytest.mark.django_db(transaction=True)
def test_cancel_follows_an_entry_that_moves_again_meanwhile(sent: Order) -> None:
    """It has moved before the cancel, which waits for its second account; then comes the third."""
    third = factories.account(owner=sent.connection.user)
    route(sent.connection, *_others(sent), third)
    fail(sent, Code.NEVER_ARRIVED)
    [moved] = moved_on()
    second = Order.objects.get(pk=moved)
    fail(second, Code.NEVER_ARRIVED)

    def move() -> None:
        assert len(moved_on()) == 1

    assert at_once(second, lambda: cancel_one(sent), holder=move) == [None]
    last = Order.objects.get(connection=third)
    assert (last.status, last.reason) == ("CANCELLED", "OWNER_CANCELLED")
    assert (claimed(), moved_on()) == ([], [])


def _others(order: Order) -> list[ExecutionConnection]:
    user = order.connection.user
    return list(ExecutionConnection.objects.filter(user=user).exclude(pk=order.connection_id)
                .order_by("created_at", "pk"))[:1]  # fmt: skip


def test_cancel_of_an_order_that_has_moved_ends_the_slices_on_its_new_account(
    alice: ExecutionConnection, feed: Feed
) -> None:
    second = factories.account(owner=alice.user)
    route(alice, second, policy="PRICE")
    factories.quote(alice, "1.1", "1.1003")
    factories.quote(second, "1.1", "1.1002")
    publish(feed, execution_style="TWAP", duration_seconds=60, slice_count=3)
    assert [one.request.connection_id for one in claimed()] == [str(second.pk)]
    old = Order.objects.get(connection=alice)
    services.cancel_order(old.pk)
    slices = Order.objects.filter(connection=second).order_by("id")
    assert [(one.status, one.pending_action) for one in slices] == [
        ("SUBMITTING", "CANCEL"), ("CANCELLED", ""), ("CANCELLED", ""),
    ]  # fmt: skip


def test_one_definition_says_which_entries_may_move(failed: Order, feed: Feed) -> None:
    other = factories.account(feed)
    publish(feed)
    assert Order.objects.filter(connection=other).exists()
    by_sql = rows(Query(IdRow, f"SELECT o.id FROM execution_order o WHERE {may_move_sql('o')}"))
    assert [row.id for row in by_sql] == [failed.pk]
    assert list(Order.objects.filter(MAY_MOVE)) == [failed]
    assert [one.pk for one in Order.objects.all() if one.may_move] == [failed.pk]
