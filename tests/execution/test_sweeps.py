"""What is done for rows that nobody answers for: take over, ask, prove absence, look again."""

from datetime import timedelta
from decimal import Decimal as D

import pytest

from brokers.base import NotSent
from brokers.messages import OrderRequest, OrderType, ReportKind, Side, TimeInForce
from common.codes import Code
from common.sql import rows, run
from connections.lanes import in_held
from connections.models import ExecutionConnection
from execution.calls import runtime, sweeps
from execution.models import DriftItem, Order
from execution.reports.streams import drain_events
from execution.services import close_position
from signals.models import Feed
from tests.execution import cast
from tests.execution.double import Double

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def entry(alice: ExecutionConnection, feed: Feed) -> Order:
    """SUBMITTING, under a live lease, nothing told yet; its call never reached the broker."""
    cast.signal(feed)
    cast.live_lease()
    cast.claim_all()
    return Order.objects.get()


def state(order: Order) -> tuple[str, str, int]:
    order.refresh_from_db()
    return order.status, order.reason, order.proofs


def ask(wire: runtime.Runtime) -> int:
    return sweeps.ask_brokers(wire.wire)


def test_nothing_is_taken_from_a_live_process_that_may_still_answer(entry: Order) -> None:
    assert sweeps.take_over("another") == 0
    assert state(entry) == ("SUBMITTING", "", 0)


def test_a_dead_processes_order_is_taken_over_and_its_late_decision_bounces(entry: Order) -> None:
    run("DELETE FROM execution_workerlease")
    assert sweeps.take_over("another") == 1
    assert state(entry) == ("UNKNOWN", "OWNER_GONE", 0)
    assert entry.fence == 2
    cast.answer(cast.in_hand(Order(pk=entry.pk, connection_id=entry.connection_id,
        client_order_id=entry.client_order_id, fence=1)), NotSent(Code.NOT_CONNECTED))  # fmt: skip
    assert state(entry)[0] == "UNKNOWN"


def test_a_dead_processes_late_fact_is_accepted(entry: Order) -> None:
    run("DELETE FROM execution_workerlease")
    sweeps.take_over("another")
    cast.tell(cast.fill_report(entry, 100, "f1"))
    assert state(entry)[0] == "FILLED"


def test_an_order_past_answer_by_is_taken_over_though_its_process_lives(entry: Order) -> None:
    cast.pass_time(60)
    cast.live_lease()
    assert sweeps.take_over("another") == 1


def test_an_absence_seen_before_answer_by_proves_nothing(
    entry: Order, wire: runtime.Runtime
) -> None:
    run("DELETE FROM execution_workerlease")
    sweeps.take_over("another")
    assert ask(wire) == 1
    assert state(entry) == ("UNKNOWN", "OWNER_GONE", 0)


def test_an_absence_proves_nothing_while_its_broker_may_still_take_the_order(
    entry: Order, wire: runtime.Runtime, broker: Double
) -> None:
    """Whoever asks, and however small the gap between two proofs is: the broker says how long."""
    broker.arrives_within = timedelta(seconds=30)
    cast.pass_time(25)  # answer_by is eleven seconds after the claim
    sweeps.take_over("another")
    assert ask(wire) == 1
    assert state(entry) == ("UNKNOWN", "OWNER_GONE", 0)
    cast.pass_time(30)
    assert ask(wire) == 1
    assert state(entry) == ("UNKNOWN", "OWNER_GONE", 1)


def test_an_entry_proven_absent_twice_with_a_gap_has_never_arrived(
    entry: Order, wire: runtime.Runtime
) -> None:
    cast.pass_time(60)
    sweeps.take_over("another")
    ask(wire)
    assert state(entry) == ("UNKNOWN", "OWNER_GONE", 1)
    cast.pass_time(30)
    assert ask(wire) == 0  # the gap has not passed
    cast.pass_time(31)
    ask(wire)
    assert state(entry) == ("FAILED", "NEVER_ARRIVED", 2)
    assert cast.events("order.failed") == [{"code": "NEVER_ARRIVED"}]


def test_two_who_ask_at_the_same_time_prove_absence_once(
    entry: Order, wire: runtime.Runtime, broker: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    cast.pass_time(60)
    sweeps.take_over("another")
    found = rows(
        sweeps.ASK, {"first": 0, "longest": 0, "claim": 0, "owner": "", **in_held()}
    )  # one asks, slowly
    assert [row.id for row in found] == [entry.pk]
    ask(wire)  # the other meanwhile asks and writes its proof
    stale = {"ids": [entry.pk], "fences": [found[0].fence], "proofs": [found[0].proofs], "gap": 60}
    run(sweeps.ABSENT, stale)
    assert state(entry) == ("UNKNOWN", "OWNER_GONE", 1)


def test_a_read_that_fails_proves_nothing(
    entry: Order, wire: runtime.Runtime, broker: Double
) -> None:
    cast.pass_time(60)
    sweeps.take_over("another")
    broker.reads_fail = True
    ask(wire)
    assert state(entry)[2] == 0


def test_what_the_broker_finds_is_written(
    entry: Order, wire: runtime.Runtime, broker: Double, alice: ExecutionConnection
) -> None:
    broker.fill_at_once(sent(entry))
    cast.pass_time(60)
    sweeps.take_over("another")
    ask(wire)
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
    entry: Order, wire: runtime.Runtime, broker: Double
) -> None:
    """The lost answer had a fill that nobody else tells of."""
    ticket = broker.receive(sent(entry))
    broker.execute(ticket, D(50))
    broker.publish(broker.end(ticket, "CANCELLED"))
    drain_events()
    assert state(entry)[0] == "CANCELLED"
    assert (entry.filled_quantity, ask(wire)) == (0, 0)  # the answer may still come
    cast.pass_time(60)
    assert ask(wire) == 1
    assert state(entry)[0] == "CANCELLED"
    assert entry.filled_quantity == 50
    cast.pass_time(60)
    assert ask(wire) == 0


def test_what_the_stream_told_is_not_looked_up_when_the_answer_came_too(
    entry: Order, wire: runtime.Runtime, broker: Double
) -> None:
    ticket = broker.receive(sent(entry))
    broker.publish(broker.execute(ticket, D(50)))
    drain_events()
    cast.tell(cast.report(entry, ReportKind.ACCEPTED))
    cast.tell(*broker.all_of(ticket))
    cast.pass_time(60)
    ask(wire)
    cast.pass_time(60)
    assert ask(wire) == 0


def test_an_exit_proven_absent_is_sent_again_under_the_same_id(
    alice: ExecutionConnection, feed: Feed, wire: runtime.Runtime
) -> None:
    position = cast.filled(cast.signal(feed))
    close_position(position.pk)
    (first,) = cast.claim_all()
    for _ in range(2):
        cast.pass_time(61)
        sweeps.take_over("another")
        ask(wire)
    leaving = Order.objects.get(leg="close-1")
    assert (leaving.status, leaving.reason) == ("PENDING", "RESEND")
    position.refresh_from_db()
    assert position.reserved == 100
    (again,) = cast.claim_all()
    assert again.request.client_order_id == first.request.client_order_id
    assert again.request.fence > first.request.fence


def test_a_row_is_due_again_only_when_its_bell_was_not_heard(
    alice: ExecutionConnection, feed: Feed
) -> None:
    cast.signal(feed)
    assert sweeps.due(10) == []
    cast.pass_time(2)
    assert sweeps.due(10) == [Order.objects.get().pk]


def test_the_exits_worker_looks_for_exits_only(alice: ExecutionConnection, feed: Feed) -> None:
    position = cast.filled(cast.signal(feed))
    leaving = close_position(position.pk)
    cast.signal(feed)
    cast.pass_time(2)
    assert sweeps.due(10, exits_only=True) == [leaving]
    assert sweeps.due(10)[0] == leaving  # and they come first for everyone


def test_an_acceptance_ends_the_asking(entry: Order, wire: runtime.Runtime, broker: Double) -> None:
    cast.tell(cast.report(entry, ReportKind.UNKNOWN, fence=entry.fence))
    assert state(entry)[0] == "UNKNOWN"
    cast.tell(cast.report(entry, ReportKind.ACCEPTED))
    assert ask(wire) == 0


def test_an_absence_beyond_the_brokers_memory_is_left_to_people(
    entry: Order, wire: runtime.Runtime
) -> None:
    cast.pass_time(2 * 24 * 3600)  # the double is sure of one day
    sweeps.take_over("another")
    ask(wire)
    cast.pass_time(60)
    ask(wire)
    assert state(entry) == ("UNKNOWN", "OWNER_GONE", 0)
    drift = DriftItem.objects.get()  # asked twice, told once
    assert (drift.kind, drift.order_id) == (Code.BEYOND_LOOKUP, entry.pk)
