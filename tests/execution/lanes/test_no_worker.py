"""A lane without an owner is reported, and orders are enqueued for the owner of their lane."""

import pytest

from common.db.sql import run
from common.reason_codes import Code
from connections import selectors, session_lanes
from connections.health import connection_checks
from connections.models import ConnectionHealth, ExecutionConnection
from execution.fan_out import lanes_of
from execution.models import Order
from execution.preview import preview
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import flag_orders_without_worker
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.lanes.processes import IN_A_LANE, lane_manager


@pytest.mark.usefixtures("inline_commits")
def test_orders_without_a_lane_owner_state_it_and_expire(
    laned: ExecutionConnection, feed: Feed, trading: TradingRuntime, broker: FakeBroker
) -> None:
    opening = factories.signal(feed)
    session_lanes.register_held_lanes(lambda: (IN_A_LANE,))
    factories.fill_all()
    session_lanes.register_held_lanes(trading.lanes.held)
    broker.calls.clear()
    entry = factories.order(signal=factories.signal(feed))
    (closing,) = factories.pending()[:1]
    factories.close_signal(opening)
    run("UPDATE execution_order SET enqueued_at = clock_timestamp() - interval '1 minute'")
    assert flag_orders_without_worker() == 2
    waiting = {
        order.pk: (order.status, order.reason) for order in Order.objects.filter(done_at=None)
    }
    assert set(waiting.values()) == {("PENDING", Code.NO_SESSION_WORKER)}
    run("UPDATE signals_signal SET published_at = published_at - interval '1 day'")
    run("UPDATE execution_order SET due_at = clock_timestamp()")
    flag_orders_without_worker()
    entry.refresh_from_db()
    assert (entry.status, entry.reason) == ("DENIED", Code.NO_SESSION_WORKER)
    exits = Order.objects.exclude(leg__startswith="entry")
    assert {o.status for o in exits} == {"PENDING"}  # an exit request does not expire
    assert broker.calls == []
    assert closing


@pytest.mark.django_db
def test_entry_waits_for_a_worker_that_can_run_the_requested_test(
    laned: ExecutionConnection, feed: Feed
) -> None:
    run(
        "UPDATE connections_connectionhealth SET status = 'UNTESTED', needs_test = true,"
        " last_tested_at = NULL, test_requested_at = clock_timestamp()"
    )
    signal = factories.signal(feed)
    order = Order.objects.get()
    assert (order.status, order.reason) == ("PENDING", Code.NO_SESSION_WORKER)
    assert [one.code for one in preview(signal).reasons] == [Code.NO_SESSION_WORKER]
    assert selectors.skip_reasons([laned.pk]) == {laned.pk: Code.NO_SESSION_WORKER}
    lane_manager("one", "sessions").balance()
    assert selectors.skip_reasons([laned.pk]) == {laned.pk: Code.CONNECTION_TEST_PENDING}


@pytest.mark.django_db
def test_of_an_account_without_lane_owner_names_the_worker_to_start(
    laned: ExecutionConnection,
) -> None:
    (check,) = connection_checks.run_test(laned.pk)
    assert check.result == "fail"
    assert "-Q sessions" in check.detail
    health = ConnectionHealth.objects.get(pk=laned.pk)
    assert health.last_test[0]["name"] == "worker"
    run("UPDATE connections_connectionhealth SET test_requested_at = clock_timestamp()")
    assert selectors.due_tests(10) == [laned.pk]  # queued again, until a worker can run it
    other = factories.account(Feed.objects.get())
    run(
        "UPDATE connections_connectionhealth SET last_tested_at = NULL,"
        " test_requested_at = clock_timestamp() WHERE connection_id = %s",
        (other.pk,),
    )
    assert selectors.due_tests(1) == [other.pk]  # and it does not delay others
    run(
        "UPDATE connections_connectionhealth SET test_requested_at = NULL WHERE connection_id = %s",
        (other.pk,),
    )
    lane_manager("one", "sessions").balance()
    assert selectors.due_tests(10) == []
    session_lanes.register_held_lanes(lambda: (IN_A_LANE,))
    assert selectors.due_tests(10) == [laned.pk]
    assert "worker" not in {one.name for one in connection_checks.run_test(laned.pk)}


@pytest.mark.django_db
def test_order_is_enqueued_for_the_owner_of_its_lane(
    laned: ExecutionConnection, feed: Feed
) -> None:
    factories.account(feed)
    factories.signal(feed)
    ours = factories.order(connection=laned).pk
    assert lanes_of(factories.pending()) == {}  # no worker would take the message
    lane_manager("one", "sessions").balance()
    assert lanes_of(factories.pending()) == {ours: IN_A_LANE}
