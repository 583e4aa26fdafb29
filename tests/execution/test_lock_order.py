"""All writers take locks in one order: they wait for each other and never deadlock."""

from decimal import Decimal as D

import pytest
from django.db import transaction

from brokers.base import NotSent
from common.db.sql import rows
from common.reason_codes import Code
from connections.models import ExecutionConnection
from connections.services import RouteAccount, set_route
from execution.changes.order_changes import change_order
from execution.changes.signal_changes import begin_waiting_changes
from execution.models import EntryChange, Order
from execution.reconciliation import auto_correction
from execution.reconciliation.missing_positions import external_close_report
from execution.reports.inferred_closes import FIND
from execution.runtime.trading_runtime import TradingRuntime
from execution.submission import claim as claim_module
from execution.submission.change_terms import WantedTerms
from execution.submission.changes import LOCK_CONNECTION
from execution.submission.claim import claim
from execution.submission.claim_writes import write_decisions
from execution.submission.outcomes import Deferred
from execution.submission.signal_limits import _SIGNAL_NOTIONAL, LOCK
from positions.row_locks import lock_positions
from signals.models import Feed
from tests.execution import factories
from tests.hanging import beside
from tests.until import until

pytestmark = pytest.mark.django_db(transaction=True)

WAITING = "SELECT pid FROM pg_locks WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"


def test_auto_correction_waits_for_the_position_before_inferred_closes(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """A writer that reverses an inferred close locks the position first and its row next."""
    position = factories.filled(factories.signal(feed))
    factories.apply(*external_close_report({position.pk: D(30)}))
    evidence = {
        "broker_position_id": position.broker_position_id,
        "ours": {"side": "BUY", "quantity": "70"},
        "theirs": {"side": "BUY", "quantity": "40"},
    }
    taken = []
    with transaction.atomic():
        lock_positions([position.pk])
        taking = beside(lambda: taken.append(auto_correction.shrink(str(alice.pk), evidence)))
        until(lambda: bool(rows(WAITING)))
        (conclusion,) = rows(f"{FIND} FOR UPDATE NOWAIT", ([position.pk],))
    taking.join(120)
    position.refresh_from_db()
    assert (conclusion.filled_quantity, taken, position.quantity) == (30, [True], 40)


def test_change_of_an_order_waits_for_its_signal_before_the_order(
    alice: ExecutionConnection, feed: Feed, runtime: TradingRuntime
) -> None:
    """A claim that has the signal's total may wait for this order: neither waits for the other."""
    Feed.objects.filter(pk=feed.pk).update(max_signal_notional=D(1000), max_signal_currency="USD")
    signal = factories.signal(feed, order_type="LIMIT", open_price=D("1.095"))
    [outgoing] = factories.claim_all()
    factories.answer(outgoing, factories.fake_broker().rest(outgoing.request))
    order = Order.objects.get(signal=signal)
    with transaction.atomic():
        rows(LOCK, (_SIGNAL_NOTIONAL, [signal.pk]))
        changing = beside(lambda: change_order(order.pk, WantedTerms(quantity=D(150))))
        until(lambda: bool(rows(WAITING)))
        list(Order.objects.select_for_update(nowait=True).filter(pk=order.pk))
    changing.join(120)
    assert EntryChange.objects.get().quantity == 150


def test_waiting_change_of_a_routed_entry_waits_for_its_account_before_the_order(
    alice: ExecutionConnection, feed: Feed, runtime: TradingRuntime
) -> None:
    """The claim that moves the entry has its account: it gets the order, and takes the change."""
    spare = factories.account(owner=alice.user)
    route = [RouteAccount(alice.pk), RouteAccount(spare.pk)]
    set_route(alice.subscriptions.get().pk, by=alice.user, policy="HEALTH", accounts=route)
    signal = factories.signal(feed, order_type="LIMIT", open_price=D("1.095"))
    [outgoing] = factories.claim_all()
    factories.signal(
        feed, action="MODIFY", refers_to=signal, open_price=D("1.094"), sl=None, direction="BUY"
    )
    factories.answer(outgoing, NotSent(Code.NOT_CONNECTED))
    factories.pass_time(10)
    with transaction.atomic():
        rows(LOCK_CONNECTION, (alice.pk,))
        beginning = beside(begin_waiting_changes)
        until(lambda: bool(rows(WAITING)))
        claimed = claim([outgoing.request.order_id], worker_id="p1")
        assert claimed.outgoing == []
    beginning.join(120)
    assert not beginning.is_alive()
    [new] = claimed.moved
    change = EntryChange.objects.get()
    assert (change.order_id, change.state, change.order.limit_price) == (new, "DONE", D("1.094"))


@pytest.mark.parametrize("is_second_deferred", [False, True])
def test_claim_locks_its_orders_as_a_published_close_does(
    alice: ExecutionConnection,
    feed: Feed,
    monkeypatch: pytest.MonkeyPatch,
    is_second_deferred: bool,
) -> None:
    """By id, whatever is decided, in whatever order: a CLOSE locks the entries of its signal so."""
    factories.account(feed)
    factories.signal(feed)
    first, second = Order.objects.order_by("id").values_list("pk", flat=True)
    last = Order.objects.get(pk=second).connection_id
    waits = {str(last): Deferred(Code.BROKER_HOST_DOWN)} if is_second_deferred else {}
    write = write_decisions
    monkeypatch.setattr(
        claim_module,
        "write_decisions",
        lambda settled, worker, **more: write(settled[::-1], worker, **more),
    )
    with transaction.atomic():
        list(Order.objects.select_for_update(no_key=True).filter(pk=first))
        claiming = beside(
            lambda: claim([first, second], worker_id="any", deferral_policy=lambda _: waits)
        )
        until(lambda: bool(rows(WAITING)))
        list(Order.objects.select_for_update(no_key=True, nowait=True).filter(pk=second))
    claiming.join(120)
    expected = ["SUBMITTING", "PENDING" if is_second_deferred else "SUBMITTING"]
    assert list(Order.objects.order_by("id").values_list("status", flat=True)) == expected
