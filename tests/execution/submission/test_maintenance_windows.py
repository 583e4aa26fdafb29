"""A broker's maintenance window: entries wait and state until when, exits go, no account fails."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from pytest_django import Settings

from brokers.maintenance_windows import BUILT_IN
from common.clocks import market_now
from connections.health import host_circuit_breaker, maintenance, status_updates
from connections.models import ConnectionHealth, ExecutionConnection, MaintenanceWindow
from execution.models import ExecutionLog, Order
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import close_position, execute
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import KIND, FakeBroker
from tests.operational import set_setting

pytestmark = pytest.mark.usefixtures("inline_commits")


def window(**fields: Any) -> MaintenanceWindow:
    """Create a window that is open now, for all accounts of the fake broker."""
    began = datetime.now(UTC) - timedelta(minutes=10)
    usual = {"broker_type": KIND, "on_date": began.date(), "starts_at": began.time(), "minutes": 60}
    return MaintenanceWindow.objects.create(**{**usual, "note": "Announced by mail.", **fields})


def trade(present: TradingRuntime) -> None:
    present.renew()
    execute(factories.pending())
    assert present.dispatcher.wait_idle(60)
    assert present.report_writer.drain(60)


def state(of: ExecutionConnection) -> ConnectionHealth:
    return ConnectionHealth.objects.get(pk=of.pk)


def fail(*accounts: ExecutionConnection, times: int = 1) -> None:
    for _ in range(times):
        status_updates.mark_failures([(row.pk, "No answer.") for row in accounts])


def test_entry_waits_states_until_when_and_is_sent_afterwards(
    alice: ExecutionConnection, feed: Feed, trading: TradingRuntime, broker: FakeBroker
) -> None:
    theirs = window()
    factories.signal(feed)
    trade(trading)
    order = Order.objects.get()
    assert (order.status, order.reason) == ("PENDING", "BROKER_MAINTENANCE")
    (one,) = maintenance.windows_open_now()
    assert order.detail == f"until {one.until:%d %b %H:%M} UTC. Announced by mail."
    factories.pass_time(4)
    trade(trading)
    lines = ExecutionLog.objects.filter(order_id=order.pk, code="BROKER_MAINTENANCE")
    assert [line.detail for line in lines] == [order.detail]  # logged once
    theirs.delete()
    factories.pass_time(4)
    trade(trading)
    order.refresh_from_db()
    assert (order.status, len(broker.accepted())) == ("FILLED", 1)


def test_entry_that_becomes_too_old_meanwhile_is_not_sent(
    alice: ExecutionConnection, feed: Feed, trading: TradingRuntime, broker: FakeBroker
) -> None:
    window()
    factories.signal(feed)
    trade(trading)
    factories.pass_time(601)
    trade(trading)
    order = Order.objects.get()
    assert (order.status, order.reason, broker.accepted()) == ("DENIED", "BROKER_MAINTENANCE", [])


@pytest.mark.django_db(transaction=True)
def test_exits_and_entries_of_other_brokers_are_sent(
    alice: ExecutionConnection, feed: Feed, trading: TradingRuntime
) -> None:
    position = factories.filled(factories.signal(feed))
    window(exchange_name="here")
    elsewhere = factories.account(feed, exchange_name="elsewhere")
    here = factories.account(feed, exchange_name="here")
    factories.signal(feed)
    [exit_id] = close_position(position.pk)
    trade(trading)
    assert Order.objects.get(pk=exit_id).status == "FILLED"
    assert Order.objects.get(connection=elsewhere).status == "FILLED"
    assert Order.objects.get(connection=here).reason == "BROKER_MAINTENANCE"


def test_entries_wait_only_for_silent_accounts_where_the_broker_may_answer(
    alice: ExecutionConnection, feed: Feed, trading: TradingRuntime
) -> None:
    window(is_closed=False)
    silent = factories.account(feed)
    fail(silent)
    factories.signal(feed)
    trade(trading)
    assert Order.objects.get(connection=alice).status == "FILLED"
    assert Order.objects.get(connection=silent).reason == "BROKER_MAINTENANCE"
    status_updates.mark_active([silent.pk])
    assert state(silent).unreachable_at is None
    factories.pass_time(6)
    trade(trading)
    assert Order.objects.get(connection=silent).status == "FILLED"


def test_silent_account_is_unreachable_and_not_in_error(feed: Feed) -> None:
    row = factories.account(feed)
    window()
    fail(row, times=6)
    noted = state(row)
    assert (noted.status, noted.consecutive_failures, noted.circuit_open_until) == (
        "ACTIVE",
        0,
        None,
    )
    assert noted.reconciled_at is not None
    assert noted.unreachable_at is not None  # it is synced again
    assert noted.last_error.startswith("Maintenance until ")
    assert noted.last_error.endswith("Announced by mail. No answer.")


def test_rejected_login_is_an_error_and_disabled_trading_is_not(feed: Feed) -> None:
    refused, disabled = factories.account(feed), factories.account(feed)
    window()
    status_updates.mark_errors([(refused.pk, "Login.")])
    status_updates.mark_errors(
        [(disabled.pk, "Disabled.")], retry=status_updates.RetryPolicy.NEXT_ROUND
    )
    assert (state(refused).status, state(disabled).status) == ("ERROR", "ACTIVE")


@pytest.mark.django_db(transaction=True)
def test_circuit_of_the_host_stays_closed_and_others_open(feed: Feed) -> None:
    window(exchange_name="here")
    here = [factories.account(feed, exchange_name="here") for _ in range(6)]
    elsewhere = [factories.account(feed, exchange_name="elsewhere") for _ in range(6)]
    fail(*here, *elsewhere)
    assert host_circuit_breaker.open_hosts() == {f"{KIND}:elsewhere"}


def test_three_lost_answers_after_the_window_are_an_error(feed: Feed) -> None:
    row = factories.account(feed)
    theirs = window()
    fail(row, times=3)
    MaintenanceWindow.objects.filter(pk=theirs.pk).update(is_active=False)
    fail(row, times=2)
    assert state(row).status == "ACTIVE"
    fail(row)
    assert state(row).status == "ERROR"


def test_account_page_shows_current_and_next_window(feed: Feed) -> None:
    row = factories.account(feed)
    assert maintenance.describe(row) == maintenance.MaintenanceNotice("", "")
    window()
    begin = market_now() + timedelta(days=1)
    window(on_date=begin.date(), starts_at=time(begin.hour, begin.minute), note="Weekly.")
    shown = maintenance.describe(row)
    assert "Announced by mail. Entries wait; exits are sent." in shown.now
    assert shown.later.endswith(f"{begin:%H:%M} UTC, 60 minutes. Weekly.")


@pytest.mark.django_db(transaction=True)
def test_window_with_an_unknown_time_zone_is_ignored(feed: Feed) -> None:
    theirs = window(note="Ours.")
    window(zone="Mars/Olympus", host="elsewhere")
    assert "Ours." in [one.window.note for one in maintenance.windows_open_now()]
    MaintenanceWindow.objects.filter(pk=theirs.pk).delete()
    assert all(one.window.zone != "Mars/Olympus" for one in maintenance.windows_open_now())


def test_published_windows_apply_unless_operators_define_their_own(settings: Settings) -> None:
    set_setting("maintenance.broker_windows", True)
    assert maintenance.windows() == list(BUILT_IN)
    set_setting("maintenance.broker_windows", False)
    assert maintenance.windows() == []
