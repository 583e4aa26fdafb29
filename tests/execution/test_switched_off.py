"""Switching off stops entries and nothing else: open positions stay monitored, and the account is
synced, retried, reconciled and reported like any other."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal as D

import pytest
from django.db.models.functions import Now

from common.db.sql import rows, run
from connections import session_lanes
from connections.accounts.services import activate, deactivate
from connections.health import inactivity, status_updates
from connections.health.account_polling import refresh_due_accounts
from connections.health.probes import retry_failed
from connections.models import ConnectionHealth, ExecutionConnection
from connections.selectors import accounts_due
from events.models import Event
from execution.reconciliation.open_orders import start_run
from execution.reconciliation.reconcile import (
    compare_with_bisection,
    connections_sql,
    reconcile,
    reconcile_new,
)
from execution.recovery.order_polling import poll
from execution.runtime import broker_queries
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import close_position, execute
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.connections.fake_brokers import account
from tests.console.conftest import statements
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.test_inactive_accounts import kinds, last_contact, run_alerts

pytestmark = pytest.mark.usefixtures("inline_commits")
LANE = "sessions.5"


def ordered(status: str) -> Callable[[Feed], None]:
    def make(feed: Feed) -> None:
        factories.signal(feed)
        factories.live_lease()
        factories.claim_all()
        factories.force("UPDATE execution_order SET status = %s", (status,))

    return make


def in_position(feed: Feed) -> None:
    factories.filled(factories.signal(feed))


OPEN: dict[str, Callable[[Feed], None]] = {
    "a position": in_position,
    **{f"an order that is {one}": ordered(one) for one in
       ("SUBMITTING", "UNKNOWN", "SUBMITTED", "PARTIALLY_FILLED", "CANCEL_REQUESTED")},
}  # fmt: skip
NOTHING: dict[str, Callable[[Feed], object]] = {
    "nothing": lambda feed: None,
    "an order that has not left": factories.signal,
    "an order that has ended": ordered("CANCELLED"),
}


def off(of: ExecutionConnection) -> None:
    ExecutionConnection.objects.filter(pk=of.pk).update(is_active=False)


def due() -> list[str]:
    return [str(row.connection_id) for row in accounts_due(10, older_than_seconds=0)]


@pytest.mark.parametrize("what", OPEN)
def test_switched_off_account_is_synced_while_something_is_open(
    what: str, alice: ExecutionConnection, feed: Feed
) -> None:
    OPEN[what](feed)
    off(alice)
    assert due() == [str(alice.pk)]
    ExecutionConnection.objects.update(archived_at=alice.created_at)
    assert due() == []


@pytest.mark.parametrize("what", NOTHING)
def test_switched_off_account_without_positions_is_not_synced(
    what: str, alice: ExecutionConnection, feed: Feed
) -> None:
    NOTHING[what](feed)
    off(alice)
    assert due() == []


def test_error_of_switched_off_account_is_reported_retried_and_cleared(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    in_position(feed)
    off(alice)
    assert refresh_due_accounts(older_than_seconds=0) == (0, 1)
    for _ in range(2):
        run("UPDATE connections_connectionhealth SET last_error_at = now() - interval '6 seconds'")
        assert retry_failed() == (0, 1)
    assert kinds(alice) == ["connection.error"]
    broker.state = account()
    run("UPDATE connections_connectionhealth SET last_error_at = now() - interval '6 seconds'")
    assert retry_failed() == (1, 0)
    assert kinds(alice) == ["connection.error", "connection.recovered"]


def test_host_is_probed_through_a_switched_off_account(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    in_position(feed)
    off(alice)
    broker.state = account()
    status_updates.mark_failures([(alice.pk, "No answer.")])
    run("INSERT INTO connections_hostcircuit (host, opened_at, probe_at, times, failing, contacted,"
        " message) SELECT broker_host, now() - interval '1 minute', now(), 1, 5, 5, ''"
        " FROM connections_executionconnection")  # fmt: skip
    assert retry_failed() == (1, 0)


def test_inactivity_message_states_that_the_account_is_switched_off(
    alice: ExecutionConnection, feed: Feed
) -> None:
    in_position(feed)
    off(alice)
    last_contact(alice, minutes=16)
    assert (run_alerts(), run_alerts(), kinds(alice)) == (1, 0, ["connection.inactive"])
    message = Event.objects.get(kind="connection.inactive").payload["message"]
    assert "It is switched off, but monitored" in message
    assert "EURUSD (an open position)" in message


def test_account_switched_on_after_days_is_not_inactive_before_its_query(
    alice: ExecutionConnection,
) -> None:
    last_contact(alice, minutes=3000)
    off(alice)
    assert activate(alice.pk, by=None)
    assert (run_alerts(), kinds(alice)) == (0, [])
    run("UPDATE connections_connectionhealth SET monitored_since = now() - interval '16 minutes'")
    assert (run_alerts(), kinds(alice)) == (1, ["connection.inactive"])
    assert not activate(alice.pk, by=None)
    assert ConnectionHealth.objects.filter(
        monitored_since__lt=Now() - timedelta(minutes=15)
    ).exists()


def test_account_with_open_positions_is_reported_inactive_before_idle_ones(
    alice: ExecutionConnection, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_position(feed)
    others = [factories.account(feed) for _ in range(3)]
    for one in (alice, *others):
        last_contact(one, minutes=300)
    monkeypatch.setattr(inactivity, "BATCH_SIZE", 1)
    assert (run_alerts(), kinds(alice)) == (1, ["connection.inactive"])


def test_inactive_accounts_are_found_by_one_statement(feed: Feed) -> None:
    """Idle accounts are inactive all weekend, and each was queried for open items each minute."""
    last_contact(factories.account(feed), minutes=100)
    with statements() as few:
        run_alerts()
    for _ in range(5):
        last_contact(factories.account(feed), minutes=100)
    with statements() as many:
        run_alerts()
    assert len(many) == len(few) > 0


def test_working_order_of_a_switched_off_account_is_reconciled(
    alice: ExecutionConnection, feed: Feed, trading: TradingRuntime, broker: FakeBroker
) -> None:
    broker.behaviour = broker.rest
    factories.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    execute(factories.pending())
    assert trading.dispatcher.wait_idle(30)
    assert trading.report_writer.drain(30)
    assert factories.order().status == "SUBMITTED"
    off(alice)
    broker.calls.clear()
    reconcile()
    assert {name for name, _ in broker.calls} >= {"positions", "open_orders"}


def test_switched_off_account_is_polled_and_its_exits_are_sent(
    alice: ExecutionConnection, feed: Feed, trading: TradingRuntime, broker: FakeBroker
) -> None:
    broker.event_stream = False
    factories.signal(feed)
    execute(factories.pending())
    assert trading.dispatcher.wait_idle(30)
    assert trading.report_writer.drain(30)
    off(alice)
    assert poll() == 1
    position = ExecutionPosition.objects.get()
    [exit_id] = close_position(position.pk)
    execute([exit_id], urgent=True)
    assert trading.dispatcher.wait_idle(30)
    assert trading.report_writer.drain(30)
    position.refresh_from_db()
    assert position.quantity == 0
    assert due() == []  # nothing is left to monitor


# ---- in a lane ----
@pytest.fixture
def laned(alice: ExecutionConnection) -> ExecutionConnection:
    ExecutionConnection.objects.filter(pk=alice.pk).update(lane=LANE)
    return ExecutionConnection.objects.get(pk=alice.pk)


@pytest.mark.django_db(transaction=True)
def test_new_lane_owner_opens_session_of_a_switched_off_account(
    laned: ExecutionConnection, feed: Feed, session: TradingRuntime, broker: FakeBroker
) -> None:
    """Otherwise the fill of a working order would go unnoticed."""
    session.sessions.maintain()
    reconcile_new()
    broker.behaviour = broker.rest
    factories.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    execute(factories.pending())
    assert session.dispatcher.wait_idle(30)
    assert session.report_writer.drain(30)
    assert factories.order().status == "SUBMITTED"
    off(laned)
    session.sessions.release([LANE])
    run("UPDATE connections_connectionhealth SET last_connected_at = NULL")
    broker.state = account()
    session.sessions.maintain()
    session.sessions.read()
    assert ConnectionHealth.objects.get(pk=laned.pk).last_connected_at is not None


def test_account_switched_on_again_is_maintained_at_once(
    laned: ExecutionConnection, session: TradingRuntime
) -> None:
    """Not only from the next check for idle accounts, up to a minute later."""
    session.sessions.maintain()
    off(laned)
    session.sessions.close_idle()
    assert due() == []
    ExecutionConnection.objects.update(is_active=True)
    assert due() == [str(laned.pk)]


def test_reconciliation_begun_while_switched_off_does_not_count_after(
    alice: ExecutionConnection, feed: Feed, runtime: TradingRuntime
) -> None:
    """Changes made there in between have not been checked."""
    in_position(feed)
    deactivate(alice.pk, by=None)
    mine = ConnectionHealth.objects.filter(pk=alice.pk)
    mine.update(reconciled_at=None)
    which = {
        "ids": [alice.pk],
        "done": "{}",
        "selected_at": "{}",
        **session_lanes.held_lanes_parameters(),
        **session_lanes.idle_parameters(),
    }
    accounts = rows(connections_sql(), which)
    comparison = start_run({row.connection_id: row for row in accounts})
    activate(alice.pk, by=None)
    for read in broker_queries.snapshots(accounts):
        compare_with_bisection(comparison, read)
    assert mine.get().reconciled_at is None
    reconcile_new()
    assert mine.get().reconciled_at is not None
