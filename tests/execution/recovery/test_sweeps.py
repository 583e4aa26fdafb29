"""Sweeps for orders without a live owner: take over, look up, confirm absence, retry."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D

import pytest

from brokers.base import NotSent
from brokers.types import OrderRequest, OrderType, ReportKind, Side, TimeInForce
from common.db.sql import rows, run
from common.reason_codes import Code
from connections.models import ExecutionConnection
from connections.session_lanes import held_lanes_parameters
from execution.models import DriftItem, Order
from execution.recovery import sweeps
from execution.runtime import trading_runtime
from execution.runtime.event_stream import drain_events
from execution.services import close_position
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = [pytest.mark.usefixtures("inline_commits", "alice")]


@pytest.fixture
def entry(alice: ExecutionConnection, feed: Feed) -> Order:
    """SUBMITTING, under a live lease, without reports; its call never reached the broker."""
    factories.signal(feed)
    factories.live_lease()
    factories.claim_all()
    return Order.objects.get()


def state(order: Order) -> tuple[str, str, int]:
    order.refresh_from_db()
    return order.status, order.reason, order.absence_confirmations


def ask(runtime: trading_runtime.TradingRuntime) -> int:
    return sweeps.query_unknown_orders(runtime.dispatcher)


def test_order_of_a_live_process_is_not_taken_over(entry: Order) -> None:
    assert sweeps.mark_orphaned_unknown("another") == 0
    assert state(entry) == ("SUBMITTING", "", 0)


def test_order_of_a_dead_process_is_taken_over_and_its_late_decision_ignored(entry: Order) -> None:
    run("DELETE FROM execution_workerlease")
    assert sweeps.mark_orphaned_unknown("another") == 1
    assert state(entry) == ("UNKNOWN", "WORKER_LOST", 0)
    assert entry.fence == 2
    factories.answer(factories.claimed_call(Order(pk=entry.pk, connection_id=entry.connection_id,
        client_order_id=entry.client_order_id, fence=1)), NotSent(Code.NOT_CONNECTED))  # fmt: skip
    assert state(entry)[0] == "UNKNOWN"


def test_late_fact_of_a_dead_process_is_accepted(entry: Order) -> None:
    run("DELETE FROM execution_workerlease")
    sweeps.mark_orphaned_unknown("another")
    factories.apply(factories.fill_report(entry, 100, "f1"))
    assert state(entry)[0] == "FILLED"


def test_order_past_answer_by_is_taken_over_from_a_live_process(entry: Order) -> None:
    factories.pass_time(60)
    factories.live_lease()
    assert sweeps.mark_orphaned_unknown("another") == 1


def test_absence_before_answer_by_does_not_count(
    entry: Order, runtime: trading_runtime.TradingRuntime
) -> None:
    run("DELETE FROM execution_workerlease")
    sweeps.mark_orphaned_unknown("another")
    assert ask(runtime) == 1
    assert state(entry) == ("UNKNOWN", "WORKER_LOST", 0)


def test_absence_does_not_count_while_the_broker_may_still_accept(
    entry: Order, runtime: trading_runtime.TradingRuntime, broker: FakeBroker
) -> None:
    """However small the gap between two look-ups is, the broker states how long it takes."""
    broker.arrives_within = timedelta(seconds=30)
    factories.pass_time(25)  # answer_by is eleven seconds after the claim
    sweeps.mark_orphaned_unknown("another")
    assert ask(runtime) == 1
    assert state(entry) == ("UNKNOWN", "WORKER_LOST", 0)
    factories.pass_time(30)
    assert ask(runtime) == 1
    assert state(entry) == ("UNKNOWN", "WORKER_LOST", 1)


def test_entry_absent_twice_with_a_gap_never_arrived(
    entry: Order, runtime: trading_runtime.TradingRuntime
) -> None:
    factories.pass_time(60)
    sweeps.mark_orphaned_unknown("another")
    ask(runtime)
    assert state(entry) == ("UNKNOWN", "WORKER_LOST", 1)
    factories.pass_time(30)
    assert ask(runtime) == 0  # the gap has not passed
    factories.pass_time(31)
    ask(runtime)
    assert state(entry) == ("FAILED", "NEVER_ARRIVED", 2)
    assert factories.events("order.failed") == [{"code": "NEVER_ARRIVED"}]


@pytest.mark.django_db(transaction=True)
def test_two_concurrent_look_ups_confirm_absence_once(
    entry: Order, runtime: trading_runtime.TradingRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.pass_time(60)
    sweeps.mark_orphaned_unknown("another")
    found = rows(
        sweeps.CLAIM_LOOKUPS,
        {"first": 0, "longest": 0, "claim": 0, "worker_id": "", **held_lanes_parameters()},
    )  # one process looks up, slowly
    assert [row.id for row in found] == [entry.pk]
    ask(runtime)  # the other one meanwhile looks up and stores its absence confirmation
    stale = {
        "ids": [entry.pk],
        "fences": [found[0].fence],
        "absence_confirmations": [found[0].absence_confirmations],
        "sure": [False],
        "gap": 60,
    }
    run(sweeps.CONFIRM_ABSENCE, stale)
    assert state(entry) == ("UNKNOWN", "WORKER_LOST", 1)


def test_failed_look_up_confirms_nothing(
    entry: Order, runtime: trading_runtime.TradingRuntime, broker: FakeBroker
) -> None:
    factories.pass_time(60)
    sweeps.mark_orphaned_unknown("another")
    broker.reads_fail = True
    ask(runtime)
    assert state(entry)[2] == 0


def test_order_found_by_a_look_up_is_written(
    entry: Order, runtime: trading_runtime.TradingRuntime, broker: FakeBroker
) -> None:
    broker.fill_at_once(sent(entry))
    factories.pass_time(60)
    sweeps.mark_orphaned_unknown("another")
    ask(runtime)
    assert state(entry)[0] == "FILLED"


def sent(order: Order) -> OrderRequest:
    """Return the request as it would have been sent."""
    return OrderRequest(
        client_order_id=order.client_order_id or "",
        connection_id=str(order.connection_id),
        account="1",
        symbol=order.symbol,
        side=Side(order.side),
        order_type=OrderType(order.order_type),
        time_in_force=TimeInForce(order.time_in_force),
        quantity=order.quantity or D(0),
        reduce_only=order.position_id is not None,
    )


@pytest.mark.django_db(transaction=True)
def test_order_reported_by_the_stream_only_is_looked_up(
    entry: Order, runtime: trading_runtime.TradingRuntime, broker: FakeBroker
) -> None:
    """The lost answer had a fill that no other source reports."""
    ticket = broker.receive(sent(entry))
    broker.execute(ticket, D(50))
    broker.publish(broker.end(ticket, "CANCELLED"))
    drain_events()
    assert state(entry)[0] == "CANCELLED"
    assert (entry.filled_quantity, ask(runtime)) == (0, 0)  # the answer may still arrive
    factories.pass_time(60)
    assert ask(runtime) == 1
    assert state(entry)[0] == "CANCELLED"
    assert entry.filled_quantity == 50
    factories.pass_time(60)
    assert ask(runtime) == 0


def test_order_reported_by_stream_and_answer_is_not_looked_up(
    entry: Order, runtime: trading_runtime.TradingRuntime, broker: FakeBroker
) -> None:
    ticket = broker.receive(sent(entry))
    broker.publish(broker.execute(ticket, D(50)))
    drain_events()
    factories.apply(factories.report(entry, ReportKind.ACCEPTED))
    factories.apply(*broker.all_of(ticket))
    factories.pass_time(60)
    ask(runtime)
    factories.pass_time(60)
    assert ask(runtime) == 0


def test_exit_confirmed_absent_is_sent_again_with_the_same_id(
    feed: Feed, runtime: trading_runtime.TradingRuntime
) -> None:
    position = factories.filled(factories.signal(feed))
    close_position(position.pk)
    (first,) = factories.claim_all()
    for _ in range(2):
        factories.pass_time(61)
        sweeps.mark_orphaned_unknown("another")
        ask(runtime)
    leaving = Order.objects.get(leg="close-1")
    assert (leaving.status, leaving.reason) == ("PENDING", "RESEND")
    position.refresh_from_db()
    assert position.reserved == 100
    (again,) = factories.claim_all()
    assert again.request.client_order_id == first.request.client_order_id
    assert again.request.fence > first.request.fence


def test_order_is_due_again_only_when_its_message_was_lost(feed: Feed) -> None:
    factories.signal(feed)
    assert sweeps.due(10) == []
    factories.pass_time(2)
    assert sweeps.due(10) == [Order.objects.get().pk]


def test_exits_worker_polls_exits_only(feed: Feed) -> None:
    position = factories.filled(factories.signal(feed))
    [leaving] = close_position(position.pk)
    factories.signal(feed)
    factories.pass_time(2)
    assert sweeps.due(10, exits_only=True) == [leaving]
    assert sweeps.due(10)[0] == leaving  # and exits come first for all workers


def test_acceptance_ends_the_look_ups(
    entry: Order, runtime: trading_runtime.TradingRuntime
) -> None:
    factories.apply(factories.report(entry, ReportKind.UNKNOWN, fence=entry.fence))
    assert state(entry)[0] == "UNKNOWN"
    factories.apply(factories.report(entry, ReportKind.ACCEPTED))
    assert ask(runtime) == 0


def test_absence_beyond_the_look_up_window_is_left_to_a_person(
    entry: Order, runtime: trading_runtime.TradingRuntime
) -> None:
    factories.pass_time(2 * 24 * 3600)  # the fake broker's look-up window is one day
    sweeps.mark_orphaned_unknown("another")
    ask(runtime)
    factories.pass_time(60)
    ask(runtime)
    assert state(entry) == ("UNKNOWN", "WORKER_LOST", 0)
    drift = DriftItem.objects.get()  # looked up twice, reported once
    assert (drift.kind, drift.order_id) == (Code.LOOKUP_WINDOW_EXCEEDED, entry.pk)


def unknown_exit(feed: Feed, fraction: str = "1") -> Order:
    """Return an exit whose outcome its own process has stored as unknown."""
    position = factories.filled(factories.signal(feed))
    close_position(position.pk, fraction=D(fraction))
    factories.claim_all()
    leaving = Order.objects.get(leg="close-1")
    factories.apply(factories.report(leaving, ReportKind.UNKNOWN, fence=leaving.fence))
    return leaving


def test_exit_that_names_its_ticket_is_sent_again_after_one_absence(
    feed: Feed, runtime: trading_runtime.TradingRuntime
) -> None:
    """It cannot close more than that ticket, so it waits neither for `answer_by` nor for a gap."""
    leaving = unknown_exit(feed)
    assert ask(runtime) == 1
    assert state(leaving)[:2] == ("PENDING", "RESEND")


def test_part_of_a_ticket_is_sent_again_at_once_only_if_the_ticket_ends(
    feed: Feed, runtime: trading_runtime.TradingRuntime, broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    leaving = unknown_exit(feed, "0.5")
    assert ask(runtime) == 1
    assert state(leaving)[0] == "UNKNOWN"
    usual = broker.capabilities
    monkeypatch.setattr(
        broker, "capabilities", lambda spec: replace(usual(spec), closes_tickets_once=True)
    )
    factories.pass_time(3)
    assert ask(runtime) == 1
    assert state(leaving)[:2] == ("PENDING", "RESEND")


def test_exit_of_a_lost_worker_waits_until_it_can_arrive_no_more(
    feed: Feed, runtime: trading_runtime.TradingRuntime
) -> None:
    position = factories.filled(factories.signal(feed))
    close_position(position.pk)
    factories.claim_all()
    run("DELETE FROM execution_workerlease")
    sweeps.mark_orphaned_unknown("another")
    assert ask(runtime) == 1
    assert state(Order.objects.get(leg="close-1")) == ("UNKNOWN", "WORKER_LOST", 0)
