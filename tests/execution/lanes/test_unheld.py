"""A lane that nobody holds is told, and bells ring where it is held."""

import pytest

from common.codes import Code
from common.sql import run
from connections import lanes as of_process
from connections import selectors, testing
from connections.models import ConnectionHealth, ExecutionConnection
from execution.calls.runtime import Runtime
from execution.fan_out import lanes_of
from execution.models import Order
from execution.preview import preview
from execution.services import tell_unheld
from signals.models import Feed
from tests.execution import cast
from tests.execution.double import Double
from tests.execution.lanes.hands import IN_A_LANE, lanes


@pytest.mark.django_db(transaction=True)
def test_orders_say_that_nobody_holds_their_lane_and_end_when_they_are_too_old(
    laned: ExecutionConnection, feed: Feed, trading: Runtime, broker: Double
) -> None:
    opening = cast.signal(feed)
    of_process.use(lambda: (IN_A_LANE,))
    cast.fill_all()
    of_process.use(trading.lanes.held)
    broker.calls.clear()
    entry = cast.order(signal=cast.signal(feed))
    (closing,) = cast.pending()[:1]
    cast.close_signal(opening)
    run("UPDATE execution_order SET rung_at = clock_timestamp() - interval '1 minute'")
    assert tell_unheld() == 2
    waiting = {
        order.pk: (order.status, order.reason) for order in Order.objects.filter(done_at=None)
    }
    assert set(waiting.values()) == {("PENDING", Code.LANE_UNHELD)}
    run("UPDATE signals_signal SET published_at = published_at - interval '1 day'")
    run("UPDATE execution_order SET due_at = clock_timestamp()")
    tell_unheld()
    entry.refresh_from_db()
    assert (entry.status, entry.reason) == ("DENIED", Code.LANE_UNHELD)
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
    signal = cast.signal(feed)
    order = Order.objects.get()
    assert (order.status, order.reason) == ("PENDING", Code.LANE_UNHELD)
    assert [one.code for one in preview(signal).reasons] == [Code.LANE_UNHELD]
    assert selectors.reasons([laned.pk]) == {laned.pk: Code.LANE_UNHELD}
    lanes("one", "sessions").balance()
    assert selectors.reasons([laned.pk]) == {laned.pk: Code.CONNECTION_TEST_PENDING}


@pytest.mark.django_db
def test_a_test_of_an_account_whose_lane_nobody_holds_says_what_to_start(
    laned: ExecutionConnection,
) -> None:
    (check,) = testing.run_test(laned.pk)
    assert check.result == "fail"
    assert "-Q sessions" in check.detail
    health = ConnectionHealth.objects.get(pk=laned.pk)
    assert health.last_test[0]["name"] == "worker"
    run("UPDATE connections_connectionhealth SET test_requested_at = clock_timestamp()")
    assert selectors.due_tests(10) == [laned.pk]  # told again, until somebody can make it
    other = cast.account(Feed.objects.get())
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
    lanes("one", "sessions").balance()
    assert selectors.due_tests(10) == []
    of_process.use(lambda: (IN_A_LANE,))
    assert selectors.due_tests(10) == [laned.pk]
    assert "worker" not in {one.name for one in testing.run_test(laned.pk)}


@pytest.mark.django_db
def test_the_bell_of_an_order_is_its_lanes_where_somebody_holds_it(
    laned: ExecutionConnection, feed: Feed
) -> None:
    cast.account(feed)
    cast.signal(feed)
    ours = cast.order(connection=laned).pk
    assert lanes_of(cast.pending()) == {}  # nobody would take the message
    lanes("one", "sessions").balance()
    assert lanes_of(cast.pending()) == {ours: IN_A_LANE}
