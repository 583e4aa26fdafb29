"""A look-up that waits for a slot at its host: one process makes it, and only in its own lane."""

from collections.abc import Iterator

import pytest

from common.clocks import machine_time
from common.db.sql import rows, run
from connections.models import ExecutionConnection
from connections.session_lanes import held_lanes_parameters
from execution import job_table
from execution.job_table import OrphanRecovery
from execution.models import Order
from execution.reconciliation.reconcile import reconcile_new
from execution.recovery import sweeps
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import execute
from signals.models import Feed
from tests.execution import factories
from tests.execution.busy_host import give_up_queued, occupied
from tests.execution.fake_broker import FakeBroker
from tests.execution.sessions.lane import LANE, lease
from tests.until import until

pytestmark = pytest.mark.usefixtures("inline_commits")


def unknown(trading: TradingRuntime, feed: Feed, broker: FakeBroker) -> Order:
    """An order filled by its broker, with a lost answer; it is due for a look-up."""
    factories.signal(feed)
    broker.behaviour = broker.accept_without_reply
    execute(factories.pending())
    assert trading.dispatcher.wait_idle(60)
    assert trading.report_writer.drain(60)
    factories.pass_time(60)
    broker.calls.clear()
    order = Order.objects.get()
    assert order.status == "UNKNOWN"
    return order


def look_ups(broker: FakeBroker) -> int:
    return [name for name, _ in broker.calls].count("find_order")


def due_elsewhere() -> list[int]:
    """Return the orders that another process would look up now."""
    asked = {"first": 2, "longest": 20, "claim": 0, "worker_id": "", **held_lanes_parameters()}
    found = [row.id for row in rows(sweeps.CLAIM_LOOKUPS, asked)]
    run("UPDATE execution_order SET lookup_after = clock_timestamp()")
    return found


@pytest.mark.django_db(transaction=True)
def test_look_up_that_waits_is_not_queued_by_a_second_process(
    alice: ExecutionConnection, feed: Feed, trading: TradingRuntime, broker: FakeBroker
) -> None:
    order = unknown(trading, feed, broker)
    with occupied(trading, alice.broker_host):
        assert sweeps.query_unknown_orders(trading.dispatcher) == 1
        run("UPDATE execution_order SET lookup_after = clock_timestamp()")  # its pause has passed
        found = due_elsewhere()
        print(f"due for another process: {found}")
        assert found == []
        assert look_ups(broker) == 0
    until(lambda: Order.objects.get().status == "FILLED")
    assert look_ups(broker) == 1
    free = Order.objects.filter(pk=order.pk, lookup_after=None, lookup_claimed_until=None)
    until(free.exists)  # it is released after its report


@pytest.fixture
def claimed_elsewhere(
    alice: ExecutionConnection, feed: Feed, trading: TradingRuntime, broker: FakeBroker
) -> Iterator[Order]:
    """An order whose look-up waits for a slot of a live process."""
    order = unknown(trading, feed, broker)
    with occupied(trading, alice.broker_host):
        assert sweeps.query_unknown_orders(trading.dispatcher, "the first") == 1
        run("UPDATE execution_order SET lookup_after = clock_timestamp()")
        factories.live_lease("the first")
        yield order


def end_its_process() -> None:
    run("DELETE FROM execution_workerlease WHERE id = 'the first'")


@pytest.mark.django_db(transaction=True)
def test_look_up_that_a_dead_process_had_claimed_is_due(claimed_elsewhere: Order) -> None:
    sweeps.release_claims()
    assert due_elsewhere() == []
    end_its_process()
    sweeps.release_claims()
    assert due_elsewhere() == [claimed_elsewhere.pk]


@pytest.mark.django_db(transaction=True)
def test_trading_process_releases_a_dead_processes_look_ups_every_five_seconds(
    claimed_elsewhere: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_table, "UNSENT_PATIENCE_SECONDS", 0.0)
    take_over = OrphanRecovery()
    take_over.run()
    end_its_process()
    take_over.run()
    assert due_elsewhere() == [], "it has looked a moment ago"
    now = machine_time()
    monkeypatch.setattr("execution.job_table.machine_time", lambda: now + 6)
    take_over.run()
    assert due_elsewhere() == [claimed_elsewhere.pk]


def test_look_up_that_got_no_slot_is_due_again_at_once(
    alice: ExecutionConnection, feed: Feed, trading: TradingRuntime, broker: FakeBroker
) -> None:
    unknown(trading, feed, broker)
    with occupied(trading, alice.broker_host):
        assert sweeps.query_unknown_orders(trading.dispatcher) == 1
        give_up_queued(trading)
        run("UPDATE execution_order SET lookup_after = clock_timestamp()")
        until(lambda: not Order.objects.filter(lookup_claimed_until__isnull=False).exists())
        assert sweeps.query_unknown_orders(trading.dispatcher) == 1
    until(lambda: Order.objects.get().status == "FILLED")


@pytest.fixture
def laned(alice: ExecutionConnection) -> ExecutionConnection:
    ExecutionConnection.objects.filter(pk=alice.pk).update(lane=LANE)
    return ExecutionConnection.objects.get(pk=alice.pk)


def waiting_in_lane(session: TradingRuntime, feed: Feed, broker: FakeBroker) -> None:
    session.sessions.maintain()
    reconcile_new()
    unknown(session, feed, broker)


def test_lane_is_released_while_a_look_up_waits_and_its_account_is_not_called(
    laned: ExecutionConnection, feed: Feed, session: TradingRuntime, broker: FakeBroker
) -> None:
    waiting_in_lane(session, feed, broker)
    with occupied(session, laned.broker_host):
        assert sweeps.query_unknown_orders(session.dispatcher) == 1
        session.lanes.release_all()
        session.sessions.maintain()
        print(f"lease held by {lease().owner!r}")
        assert lease().owner == ""  # at once: nothing was sent
        until(lambda: not Order.objects.filter(lookup_claimed_until__isnull=False).exists())
    assert session.dispatcher.wait_idle(60)
    assert look_ups(broker) == 0


def test_look_up_that_waits_is_not_made_in_a_lane_that_was_lost(
    laned: ExecutionConnection, feed: Feed, session: TradingRuntime, broker: FakeBroker
) -> None:
    waiting_in_lane(session, feed, broker)
    with occupied(session, laned.broker_host):
        assert sweeps.query_unknown_orders(session.dispatcher) == 1
        until(lambda: len(session.dispatcher.background_calls._waiting) == 1)
        run("UPDATE connections_lanelease SET owner = 'another', fence = fence + 1")
        session.renew()
    assert session.dispatcher.wait_idle(60)
    print(f"{look_ups(broker)} look-ups in a lane of another process")
    assert look_ups(broker) == 0


def test_new_lane_owner_makes_look_ups_that_the_last_owner_claimed(
    laned: ExecutionConnection, feed: Feed, session: TradingRuntime, broker: FakeBroker
) -> None:
    """The last owner died while the look-up waited."""
    waiting_in_lane(session, feed, broker)
    run("UPDATE execution_order SET lookup_claimed_until = clock_timestamp() + interval '1 hour'")
    assert sweeps.query_unknown_orders(session.dispatcher) == 0
    run("UPDATE connections_lanelease SET owner = 'dead', fence = fence + 1,"
        " until = clock_timestamp()")  # fmt: skip
    session.renew()
    session.sessions.maintain()
    assert lease().owner == session.id
    assert sweeps.query_unknown_orders(session.dispatcher) == 1
    until(lambda: Order.objects.get().status == "FILLED")
