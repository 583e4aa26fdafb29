"""What is done for rows that nobody answers for: take over, ask, prove absence, look again."""

from datetime import timedelta
from decimal import Decimal as D

import pytest

from brokers.base import NotSent
from brokers.types import OrderRequest, OrderType, ReportKind, Side, TimeInForce
from common.reason_codes import Code
from common.sql import rows, run
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

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def entry(alice: ExecutionConnection, feed: Feed) -> Order:
    """SUBMITTING, under a live lease, nothing told yet; its call never reached the broker."""
    factories.signal(feed)
    factories.live_lease()
    factories.claim_all()
    return Order.objects.get()


def state(order: Order) -> tuple[str, str, int]:
    order.refresh_from_db()
    return order.status, order.reason, order.absence_confirmations


def ask(runtime: trading_runtime.TradingRuntime) -> int:
    return sweeps.query_unknown_orders(runtime.dispatcher)


def test_nothing_is_taken_from_a_live_process_that_may_still_answer(entry: Order) -> None:
    assert sweeps.mark_orphaned_unknown("another") == 0
    assert state(entry) == ("SUBMITTING", "", 0)


def test_a_dead_processes_order_is_taken_over_and_its_late_decision_bounces(entry: Order) -> None:
    run("DELETE FROM execution_workerlease")
    assert sweeps.mark_orphaned_unknown("another") == 1
    assert state(entry) == ("UNKNOWN", "WORKER_LOST", 0)
    assert entry.fence == 2
    factories.answer(factories.claimed_call(Order(pk=entry.pk, connection_id=entry.connection_id,
        client_order_id=entry.client_order_id, fence=1)), NotSent(Code.NOT_CONNECTED))  # fmt: skip
    assert state(entry)[0] == "UNKNOWN"


def test_a_dead_processes_late_fact_is_accepted(entry: Order) -> None:
    run("DELETE FROM execution_workerlease")
    sweeps.mark_orphaned_unknown("another")
    factories.apply(factories.fill_report(entry, 100, "f1"))
    assert state(entry)[0] == "FILLED"


def test_an_order_past_answer_by_is_taken_over_though_its_process_lives(entry: Order) -> None:
    factories.pass_time(60)
    factories.live_lease()
    assert sweeps.mark_orphaned_unknown("another") == 1


def test_an_absence_seen_before_answer_by_proves_nothing(
    entry: Order, runtime: trading_runtime.TradingRuntime
) -> None:
    run("DELETE FROM execution_workerlease")
    sweeps.mark_orphaned_unknown("another")
    assert ask(runtime) == 1
    assert state(entry) == ("UNKNOWN", "WORKER_LOST", 0)


def test_an_absence_proves_nothing_while_its_broker_may_still_take_the_order(
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


def test_an_entry_proven_absent_twice_with_a_gap_has_never_arrived(
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


def test_two_who_ask_at_the_same_time_prove_absence_once(
    entry: Order,
    runtime: trading_runtime.TradingRuntime,
    broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    factories.pass_time(60)
    sweeps.mark_orphaned_unknown("another")
    found = rows(
        sweeps.CLAIM_LOOKUPS,
        {"first": 0, "longest": 0, "claim": 0, "worker_id": "", **held_lanes_parameters()},
    )  # one asks, slowly
    assert [row.id for row in found] == [entry.pk]
    ask(runtime)  # the other meanwhile asks and writes its proof
    stale = {
        "ids": [entry.pk],
        "fences": [found[0].fence],
        "absence_confirmations": [found[0].absence_confirmations],
        "gap": 60,
    }
    run(sweeps.CONFIRM_ABSENCE, stale)
    assert state(entry) == ("UNKNOWN", "WORKER_LOST", 1)


def test_a_read_that_fails_proves_nothing(
    entry: Order, runtime: trading_runtime.TradingRuntime, broker: FakeBroker
) -> None:
    factories.pass_time(60)
    sweeps.mark_orphaned_unknown("another")
    broker.reads_fail = True
    ask(runtime)
    assert state(entry)[2] == 0


def test_what_the_broker_finds_is_written(
    entry: Order,
    runtime: trading_runtime.TradingRuntime,
    broker: FakeBroker,
    alice: ExecutionConnection,
) -> None:
    broker.fill_at_once(sent(entry))
    factories.pass_time(60)
    sweeps.mark_orphaned_unknown("another")
    ask(runtime)
    assert state(entry)[0] == "FILLED"


def sent(order: Order) -> OrderRequest:
    """The request as it would have left."""
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


def test_what_only_the_stream_told_is_looked_up_when_our_own_answer_was_lost(
    entry: Order, runtime: trading_runtime.TradingRuntime, broker: FakeBroker
) -> None:
    """The lost answer had a fill that nobody else tells of."""
    ticket = broker.receive(sent(entry))
    broker.execute(ticket, D(50))
    broker.publish(broker.end(ticket, "CANCELLED"))
    drain_events()
    assert state(entry)[0] == "CANCELLED"
    assert (entry.filled_quantity, ask(runtime)) == (0, 0)  # the answer may still come
    factories.pass_time(60)
    assert ask(runtime) == 1
    assert state(entry)[0] == "CANCELLED"
    assert entry.filled_quantity == 50
    factories.pass_time(60)
    assert ask(runtime) == 0


def test_what_the_stream_told_is_not_looked_up_when_the_answer_came_too(
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


def test_an_exit_proven_absent_is_sent_again_under_the_same_id(
    alice: ExecutionConnection, feed: Feed, runtime: trading_runtime.TradingRuntime
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


def test_a_row_is_due_again_only_when_its_bell_was_not_heard(
    alice: ExecutionConnection, feed: Feed
) -> None:
    factories.signal(feed)
    assert sweeps.due(10) == []
    factories.pass_time(2)
    assert sweeps.due(10) == [Order.objects.get().pk]


def test_the_exits_worker_looks_for_exits_only(alice: ExecutionConnection, feed: Feed) -> None:
    position = factories.filled(factories.signal(feed))
    leaving = close_position(position.pk)
    factories.signal(feed)
    factories.pass_time(2)
    assert sweeps.due(10, exits_only=True) == [leaving]
    assert sweeps.due(10)[0] == leaving  # and they come first for everyone


def test_an_acceptance_ends_the_asking(
    entry: Order, runtime: trading_runtime.TradingRuntime, broker: FakeBroker
) -> None:
    factories.apply(factories.report(entry, ReportKind.UNKNOWN, fence=entry.fence))
    assert state(entry)[0] == "UNKNOWN"
    factories.apply(factories.report(entry, ReportKind.ACCEPTED))
    assert ask(runtime) == 0


def test_an_absence_beyond_the_brokers_memory_is_left_to_people(
    entry: Order, runtime: trading_runtime.TradingRuntime
) -> None:
    factories.pass_time(2 * 24 * 3600)  # the double is sure of one day
    sweeps.mark_orphaned_unknown("another")
    ask(runtime)
    factories.pass_time(60)
    ask(runtime)
    assert state(entry) == ("UNKNOWN", "WORKER_LOST", 0)
    drift = DriftItem.objects.get()  # asked twice, told once
    assert (drift.kind, drift.order_id) == (Code.LOOKUP_WINDOW_EXCEEDED, entry.pk)
