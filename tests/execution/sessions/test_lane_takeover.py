"""A lane is taken: its accounts are read, which opens their sessions."""

import threading
import time

import pytest
from django.db import OperationalError

from brokers import registry
from common.process.jobs import Job
from common.reason_codes import Code
from connections import session_lanes
from connections.health.connection_checks import run_on_process_loop
from connections.health.status_updates import mark_errors, mark_failures
from connections.models import ConnectionHealth, ExecutionConnection
from execution.reconciliation.reconcile import reconcile_new
from execution.runtime.trading_runtime import TradingRuntime
from tests.execution.fake_broker import FakeBroker
from tests.execution.sessions.lane import lease


def create() -> object:
    """An adapter that is slow to create, as when a library is imported."""
    time.sleep(0.05)
    return object()


def test_process_has_one_adapter_of_a_broker_type_despite_races(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two adapters would open two sessions with one client id; the broker rejects the second."""
    monkeypatch.setitem(registry.BUILT_IN, "slow", f"{__name__}:create")
    start, found = threading.Barrier(8), list[object]()

    def reach() -> None:
        start.wait(60)
        found.append(registry.adapter_for("slow"))

    threads = [threading.Thread(target=reach) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    del registry._adapters["slow"]
    assert len(found) == 8
    assert len(set(map(id, found))) == 1


def test_accounts_of_a_taken_lane_are_synced_and_reconciled(
    laned: ExecutionConnection, session: TradingRuntime, called: list[tuple[str, str]]
) -> None:
    session.sessions.maintain()
    assert lease().owner == session.id
    assert called == []
    session.sessions.read()
    assert called == [("account", str(laned.pk))]
    assert not laned.can_execute_trades()
    reconcile_new()
    assert laned.can_execute_trades()


def test_session_error_is_stored_on_its_connection(
    laned: ExecutionConnection, session: TradingRuntime, broker: FakeBroker
) -> None:
    broker.reads_fail = True
    session.sessions.maintain()
    session.sessions.read()
    health = ConnectionHealth.objects.get(pk=laned.pk)
    assert health.last_error.startswith(Code.BROKER_UNREACHABLE.sentence)
    assert health.reconciled_at is None


def test_new_lane_owner_retries_unreachable_account(
    laned: ExecutionConnection,
    session: TradingRuntime,
    called: list[tuple[str, str]],
    broker: FakeBroker,
) -> None:
    """The failure may be the old owner's machine: the new owner must not back off ten minutes."""
    for _ in range(12):
        mark_failures([(laned.pk, "No answer.")])
    health = ConnectionHealth.objects.get(pk=laned.pk)
    assert health.circuit_open_until is not None
    session.sessions.maintain()
    session.sessions.read()
    assert called == [("account", str(laned.pk))]


def test_rejected_login_is_not_retried_when_its_lane_is_taken(
    laned: ExecutionConnection, session: TradingRuntime, called: list[tuple[str, str]]
) -> None:
    for _ in range(12):
        mark_errors([(laned.pk, "Refused.")])
    session.sessions.maintain()
    session.sessions.read()
    assert called == []
    assert ConnectionHealth.objects.get(pk=laned.pk).circuit_open_until is not None


def test_lane_whose_accounts_could_not_be_queried_is_synced_in_the_next_round(
    laned: ExecutionConnection, session: TradingRuntime, called: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The database was briefly unavailable: they would have waited for their next sync, up to a
    minute."""
    session.sessions.maintain()

    def away(lanes: object) -> None:
        raise OperationalError

    with monkeypatch.context() as patch:
        patch.setattr("execution.runtime.broker_sessions.deactivate_disallowed", away)
        with pytest.raises(OperationalError):
            session.sessions.read()
    session.sessions.read()
    assert called == [("account", str(laned.pk))]


def test_running_round_opens_no_session_after_its_process_stopped(
    transactional_db: None, broker: FakeBroker
) -> None:
    """It would open a session on another loop, in the lane of the next owner."""
    present = TradingRuntime("sessions")
    present.start()
    opened, refused, began = [], [], threading.Event()

    async def opens() -> None:
        opened.append(1)

    def late() -> None:
        began.set()
        assert present._ended.wait(60)
        try:
            run_on_process_loop(opens())
        except session_lanes.LaneNotHeldError as error:
            refused.append(error)

    present.start_background_jobs([Job("late", 0.01, late)])
    assert began.wait(60)
    present.stop()
    present.dispatcher.join(120)
    present.dispatcher.loop.close()
    assert (opened, len(refused)) == ([], 1)
    run_on_process_loop(opens())  # later callers have a loop again
    assert opened == [1]
