"""Unneeded sessions are closed; their accounts are synced now and then."""

import pytest

from common.clocks import machine_time
from common.db.sql import run
from connections.health.account_polling import refresh_due_accounts
from connections.models import ExecutionConnection
from connections.selectors import accounts_due
from execution.reconciliation.reconcile import reconcile, reconcile_new
from execution.runtime.broker_sessions import WAKE_SECONDS
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import execute
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.sessions.lane import lease
from tests.operational import set_setting


@pytest.fixture
def idle(laned: ExecutionConnection, session: TradingRuntime) -> ExecutionConnection:
    """Leave the account with nothing open and no activity for two hours."""
    session.sessions.maintain()
    reconcile_new()
    run(
        "UPDATE connections_connectionhealth SET last_used_at = NULL,"
        " last_tested_at = now() - interval '2 hours'"
    )
    run("UPDATE connections_executionconnection SET created_at = now() - interval '1 day'")
    run("UPDATE connections_accountsnapshot SET read_at = now() - interval '2 minutes'")
    return laned


def test_idle_session_is_closed_and_synced_every_ten_minutes(
    idle: ExecutionConnection, session: TradingRuntime, called: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch, broker: FakeBroker,
) -> None:  # fmt: skip
    now = machine_time()

    def rest(seconds: float) -> None:
        monkeypatch.setattr("execution.runtime.broker_sessions.machine_time", lambda: now + seconds)
        session.sessions.close_idle()

    session.sessions._woken[idle.pk] = now
    rest(1)
    assert called == [("disconnect", str(idle.pk))]
    called.clear()
    broker.calls.clear()
    refresh_due_accounts()
    reconcile()
    reconcile_new()
    assert (called, broker.calls) == ([], [])
    rest(WAKE_SECONDS + 1)
    refresh_due_accounts()
    reconcile_new()
    assert called == [("account", str(idle.pk))]
    assert {name for name, _ in broker.calls} >= {"positions", "open_orders"}
    rest(WAKE_SECONDS + 60)
    assert called[1:] == [("disconnect", str(idle.pk))]


def test_session_is_idle_after_the_seconds_of_its_setting(
    idle: ExecutionConnection, session: TradingRuntime, called: list[tuple[str, str]]
) -> None:
    session.sessions._woken[idle.pk] = machine_time()
    set_setting("execution.session_idle_seconds", 3 * 3600)
    session.sessions.close_idle()
    assert called == []
    set_setting("execution.session_idle_seconds", 3600)
    session.sessions.close_idle()
    assert called == [("disconnect", str(idle.pk))]


def test_idle_account_is_monitored_after_next_order(
    idle: ExecutionConnection, feed: Feed, session: TradingRuntime, called: list[tuple[str, str]],
    broker: FakeBroker,
) -> None:  # fmt: skip
    """Not only from the next check for idle accounts, up to a minute later."""
    session.sessions._woken[idle.pk] = machine_time()
    session.sessions.close_idle()
    broker.calls.clear()
    reconcile()
    assert [name for name, _ in broker.calls if name == "positions"] == []
    factories.signal(feed)
    execute(factories.pending())
    assert session.dispatcher.wait_idle(30)
    assert session.report_writer.drain(30)
    reconcile()
    assert [name for name, _ in broker.calls if name == "positions"] == ["positions"]


def test_account_used_during_the_idle_check_does_not_become_idle(
    idle: ExecutionConnection, feed: Feed, session: TradingRuntime, called: list[tuple[str, str]],
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Its order was sent between the check and the close; the session used to be closed anyway,
    and the broker's reports of the order were missed for up to a minute."""
    session.sessions._woken[idle.pk] = machine_time()
    factories.signal(feed)

    def order_it() -> bool:
        execute(factories.pending())
        return session.dispatcher.wait_idle(30) and session.report_writer.drain(30)

    monkeypatch.setattr(session.sessions, "_is_waking", lambda one: not order_it())
    session.sessions.close_idle()
    assert factories.order().status == "FILLED"
    assert ("disconnect", str(idle.pk)) not in called


def test_account_opened_by_another_owner_is_active_when_its_lane_returns(
    idle: ExecutionConnection, feed: Feed, session: TradingRuntime
) -> None:
    """This process remembers the account as idle and does not know what the other one did."""
    session.sessions._woken[idle.pk] = machine_time()
    session.sessions.close_idle()
    assert accounts_due(10, older_than_seconds=45) == []
    run("UPDATE connections_lanelease SET owner = 'another', fence = fence + 1")
    session.renew()
    session.sessions.maintain()
    run("UPDATE connections_lanelease SET until = clock_timestamp() - interval '1 second'")
    session.sessions.maintain()
    assert lease().owner == session.id
    found = accounts_due(10, older_than_seconds=45)
    assert [row.connection_id for row in found] == [idle.pk]


def test_account_with_a_manual_position_does_not_become_idle(
    idle: ExecutionConnection, feed: Feed, session: TradingRuntime, broker: FakeBroker
) -> None:
    """An adopted position that its owner opened at the broker wakes it: there is no order."""
    session.sessions._woken[idle.pk] = machine_time()
    session.sessions.close_idle()
    assert accounts_due(10, older_than_seconds=45) == []
    factories.filled(factories.signal(feed))
    found = accounts_due(10, older_than_seconds=45)
    assert [row.connection_id for row in found] == [idle.pk]
    broker.calls.clear()
    reconcile()
    assert "positions" in {name for name, _ in broker.calls}


def test_session_with_open_exposure_does_not_become_idle(
    idle: ExecutionConnection, feed: Feed, session: TradingRuntime, called: list[tuple[str, str]]
) -> None:
    factories.signal(feed)
    execute(factories.pending())
    assert session.dispatcher.wait_idle(30)
    assert session.report_writer.drain(30)
    run("UPDATE connections_connectionhealth SET last_used_at = NULL")
    session.sessions.close_idle()
    assert called == []


def test_switched_off_account_has_no_session(
    laned: ExecutionConnection, session: TradingRuntime, called: list[tuple[str, str]]
) -> None:
    session.sessions.maintain()
    ExecutionConnection.objects.filter(pk=laned.pk).update(is_active=False)
    run("UPDATE connections_connectionhealth SET last_tested_at = now()")
    session.sessions._woken[laned.pk] = (
        machine_time() - WAKE_SECONDS
    )  # it would be due if it were on
    session.sessions.close_idle()
    assert called == [("disconnect", str(laned.pk))]
