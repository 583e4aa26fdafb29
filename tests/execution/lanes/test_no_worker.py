"""A lane that nobody holds is told, and bells ring where it is held."""

import pytest

from common.reason_codes import Code
from common.sql import run
from connections import selectors
from connections import session_lanes as of_process
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


@pytest.mark.django_db(transaction=True)
def test_orders_say_that_nobody_holds_their_lane_and_end_when_they_are_too_old(
    laned: ExecutionConnection, feed: Feed, trading: TradingRuntime, broker: FakeBroker
) -> None:
    opening = factories.signal(feed)
    of_process.register_held_lanes(lambda: (IN_A_LANE,))
    factories.fill_all()
    of_process.register_held_lanes(trading.lanes.held)
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
    assert {o.status for o in exits} == {"PENDING"}  # a wish to close does not lapse
    assert broker.calls == []
    assert closing


@pytest.mark.django_db
def test_an_entry_waits_for_a_worker_that_can_make_the_requested_test(
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
def test_a_test_of_an_account_whose_lane_nobody_holds_says_what_to_start(
    laned: ExecutionConnection,
) -> None:
    (check,) = connection_checks.run_test(laned.pk)
    assert check.result == "fail"
    assert "-Q sessions" in check.detail
    health = ConnectionHealth.objects.get(pk=laned.pk)
    assert health.last_test[0]["name"] == "worker"
    run("UPDATE connections_connectionhealth SET test_requested_at = clock_timestamp()")
    assert selectors.due_tests(10) == [laned.pk]  # told again, until somebody can make it
    other = factories.account(Feed.objects.get())
    run(
        "UPDATE connections_connectionhealth SET last_tested_at = NULL,"
        " test_requested_at = clock_timestamp() WHERE connection_id = %s",
        (other.pk,),
    )
    assert selectors.due_tests(1) == [other.pk]  # and in nobody's way
    run(
        "UPDATE connections_connectionhealth SET test_requested_at = NULL WHERE connection_id = %s",
        (other.pk,),
    )
    lane_manager("one", "sessions").balance()
    assert selectors.due_tests(10) == []
    of_process.register_held_lanes(lambda: (IN_A_LANE,))
    assert selectors.due_tests(10) == [laned.pk]
    assert "worker" not in {one.name for one in connection_checks.run_test(laned.pk)}


@pytest.mark.django_db
def test_the_bell_of_an_order_is_its_lanes_where_somebody_holds_it(
    laned: ExecutionConnection, feed: Feed
) -> None:
    factories.account(feed)
    factories.signal(feed)
    ours = factories.order(connection=laned).pk
    assert lanes_of(factories.pending()) == {}  # nobody would take the message
    lane_manager("one", "sessions").balance()
    assert lanes_of(factories.pending()) == {ours: IN_A_LANE}
