"""Stored times in the future, after the clock was set back, are found, stated and corrected."""

import pytest
from django.utils import timezone

from alerts.models import IncomingAlert
from common.db.sql import rows, run
from common.db.stored_times import (
    AHEAD_SECONDS,
    StoredTimes,
    correct_times_ahead,
    find_times_ahead,
    registered_times,
)
from connections.models import ConnectionHealth, ExecutionConnection
from events.models import Event
from execution.base.clock_steps import ALARM, correct_after_step
from execution.models import Order
from execution.runtime.trading_runtime import TradingRuntime
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories

pytestmark = pytest.mark.django_db
TABLES = registered_times()


@pytest.mark.parametrize("times", TABLES, ids=[f"{n}-{t.table}" for n, t in enumerate(TABLES)])
def test_statements_of_stored_times_fit_their_table(times: StoredTimes) -> None:
    if times.proves:
        (row,) = rows(times.count_sql())
        assert (row.number, row.seconds) == (0, 0)
    assert run(times.correct_sql()) == 0


@pytest.mark.parametrize(
    "times",
    [one for one in TABLES if one.table == "execution_order"],
    ids=lambda one: "-".join([*one.past, *one.due]),
)
def test_orders_that_have_ended_are_not_read(times: StoredTimes) -> None:
    run("SET LOCAL enable_seqscan = off")
    for sql in [times.correct_sql(), *([times.count_sql()] if times.proves else [])]:
        plan = "\n".join(row[0] for row in rows(f"EXPLAIN {sql}"))
        assert "Seq Scan on execution_order" not in plan, plan


def test_waiting_entry_is_due_after_clock_step(alice: ExecutionConnection, feed: Feed) -> None:
    order = _entry(feed)
    run(
        "UPDATE execution_order SET due_at = clock_timestamp() + interval '1 h',"
        " created_at = clock_timestamp() + interval '1 h' WHERE id = %s",
        (order.pk,),
    )
    [found] = [found for found in find_times_ahead() if found.table == "execution_order"]
    assert 3000 < found.seconds <= 3600
    correct_times_ahead()
    [row] = rows(
        "SELECT due_at <= clock_timestamp() AND created_at <= clock_timestamp() AS is_due"
        " FROM execution_order WHERE id = %s",
        (order.pk,),
    )
    assert row.is_due
    assert find_times_ahead() == []


def test_answer_keeps_its_distance_from_its_sending(alice: ExecutionConnection, feed: Feed) -> None:
    order = _entry(feed)
    run(
        "UPDATE execution_order SET status = 'SUBMITTING', quantity = 1, client_order_id = 'X1',"
        " submitted_at = clock_timestamp() + interval '1 h',"
        " answer_by = clock_timestamp() + interval '1 h 75 s' WHERE id = %s",
        (order.pk,),
    )
    correct_times_ahead()
    [row] = rows(
        "SELECT extract(epoch FROM answer_by - submitted_at)::int AS apart,"
        " submitted_at <= clock_timestamp() AS is_sent FROM execution_order WHERE id = %s",
        (order.pk,),
    )
    assert (row.apart, row.is_sent) == (75, True)


def test_lease_of_a_dead_process_ends_within_its_length() -> None:
    run(
        "INSERT INTO execution_workerlease (id, role, host, pid, lease_until)"
        " VALUES ('dead', 'exits', 'h', 1, clock_timestamp() + interval '1 h')"
    )
    correct_times_ahead()
    [row] = rows(
        "SELECT extract(epoch FROM lease_until - clock_timestamp())::float8 AS left"
        " FROM execution_workerlease WHERE id = 'dead'"
    )
    assert row.left <= 10


def test_times_that_may_lie_ahead_are_left_alone(alice: ExecutionConnection) -> None:
    run(
        "UPDATE connections_connectionhealth SET last_connected_at = clock_timestamp()"
        " + make_interval(secs => %s) WHERE connection_id = %s",
        (AHEAD_SECONDS - 2, alice.pk),
    )
    assert find_times_ahead() == []
    assert correct_times_ahead() == []


def test_entry_that_is_due_in_hours_proves_nothing(alice: ExecutionConnection, feed: Feed) -> None:
    _entry(feed)
    run("UPDATE execution_order SET due_at = clock_timestamp() + interval '2 h'")
    assert find_times_ahead() == []
    assert correct_after_step() == []
    assert not Event.objects.filter(kind="clock.set_back").exists()
    [row] = rows("SELECT due_at > clock_timestamp() + interval '1 h' AS waits FROM execution_order")
    assert row.waits


def test_refused_account_and_guarded_stop_go_on_from_now(
    alice: ExecutionConnection, feed: Feed
) -> None:
    factories.filled(factories.signal(feed))
    run(
        "UPDATE connections_connectionhealth SET circuit_open_until = clock_timestamp()"
        " + interval '1 h', failing_since = clock_timestamp() + interval '1 h'"
    )
    run(
        "UPDATE positions_executionposition SET last_activity_at = clock_timestamp()"
        " + interval '1 h', level_sync_due_at = clock_timestamp() + interval '1 h'"
    )
    tables = {found.table for found in correct_times_ahead()}
    assert tables == {"connections_connectionhealth", "positions_executionposition"}
    assert not ConnectionHealth.objects.filter(circuit_open_until__gt=_now()).exists()
    assert not ExecutionPosition.objects.filter(last_activity_at__gt=_now()).exists()
    assert Order.objects.exists()


def _now() -> object:
    (row,) = rows("SELECT clock_timestamp() AS now")
    return row.now


def _entry(feed: Feed) -> Order:
    factories.signal(feed)
    return Order.objects.get()


def test_process_notices_clock_step_by_its_lease(
    alice: ExecutionConnection,
) -> None:
    runtime = TradingRuntime("test")
    runtime.renew()
    ALARM.take()
    runtime.renew()
    assert not ALARM.take()
    run("UPDATE execution_workerlease SET lease_until = lease_until + interval '1 h'")
    runtime.renew()
    assert ALARM.take()
    runtime.renew()
    assert not ALARM.take(), "its lease is counted from the present time again"


def test_operators_are_alerted_once_of_clock_step(
    alice: ExecutionConnection,
) -> None:
    late = "UPDATE prices_latestquote SET received_at = received_at + interval '1 h'"
    factories.quote(alice, "1.05")
    run(late)
    assert [found.table for found in correct_after_step()] == ["prices_latestquote"]
    run(late)  # what another process finds of the same step
    correct_after_step()
    [event] = Event.objects.filter(kind="clock.set_back")
    assert 3000 < event.payload["seconds"] <= 3600
    assert event.payload["tables"] == {"prices_latestquote": 1}


def test_signal_published_in_the_future_is_not_fresh(
    alice: ExecutionConnection, feed: Feed
) -> None:
    order = _entry(feed)
    run("UPDATE signals_signal SET published_at = published_at + interval '601 s'")
    assert factories.claim_all() == []
    order.refresh_from_db()
    assert (order.status, order.reason) == ("DENIED", "SIGNAL_TOO_OLD")


def test_waiting_alert_keeps_its_time_after_clock_step(feed: Feed) -> None:
    now = timezone.now()
    IncomingAlert.objects.create(feed=feed, body=b"x", entry_until=now, expires_at=now)
    run(
        "UPDATE alerts_incomingalert SET received_at = received_at + interval '1 h',"
        " due_at = due_at + interval '1 h', entry_until = received_at + interval '1 h 60 s'"
    )
    assert [found.table for found in correct_times_ahead()] == ["alerts_incomingalert"]
    [row] = rows(
        "SELECT extract(epoch FROM entry_until - clock_timestamp())::int AS left,"
        " due_at <= clock_timestamp() AS is_due FROM alerts_incomingalert"
    )
    assert 0 < row.left <= 60
    assert row.is_due
