"""A lane is taken: its accounts are read, which opens their sessions."""

import threading
import time

import pytest
from django.db import OperationalError

from brokers import registry
from common.reason_codes import Code
from connections import session_lanes as of_process
from connections.health.connection_checks import run_on_process_loop
from connections.health.status_updates import mark_errors, mark_failures
from connections.models import ConnectionHealth, ExecutionConnection
from execution.reconciliation.reconcile import reconcile_new
from execution.runtime.trading_runtime import TradingRuntime
from tests.execution.fake_broker import FakeBroker
from tests.execution.sessions.lane import lease


def create() -> object:
    """An adapter whose making takes its time, as importing a library does."""
    time.sleep(0.05)
    return object()


def test_a_process_has_one_adapter_of_a_kind_whoever_comes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two would be two sessions under one client id, of which the broker refuses the second."""
    monkeypatch.setitem(registry.BUILT_IN, "slow", f"{__name__}:create")
    start, found = threading.Barrier(8), list[object]()

    def reach() -> None:
        start.wait(10)
        found.append(registry.adapter_for("slow"))

    threads = [threading.Thread(target=reach) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    del registry._adapters["slow"]
    assert len(found) == 8
    assert len(set(map(id, found))) == 1


def test_a_lane_that_is_taken_has_its_accounts_read_and_compared(
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


def test_what_is_wrong_with_a_session_stands_on_its_connection(
    laned: ExecutionConnection, session: TradingRuntime, broker: FakeBroker
) -> None:
    broker.reads_fail = True
    session.sessions.maintain()
    session.sessions.read()
    health = ConnectionHealth.objects.get(pk=laned.pk)
    assert health.last_error.startswith(Code.BROKER_UNREACHABLE.sentence)
    assert health.reconciled_at is None


def test_who_did_not_answer_the_last_owner_is_asked_by_the_next_one_at_once(
    laned: ExecutionConnection,
    session: TradingRuntime,
    called: list[tuple[str, str]],
    broker: FakeBroker,
) -> None:
    """It was that one's machine: the next one would have let it rest for up to ten minutes."""
    for _ in range(12):
        mark_failures([(laned.pk, "No answer.")])
    health = ConnectionHealth.objects.get(pk=laned.pk)
    assert health.circuit_open_until is not None
    session.sessions.maintain()
    session.sessions.read()
    assert called == [("account", str(laned.pk))]


def test_a_refused_login_is_not_tried_again_because_its_lane_is_taken(
    laned: ExecutionConnection, session: TradingRuntime, called: list[tuple[str, str]]
) -> None:
    for _ in range(12):
        mark_errors([(laned.pk, "Refused.")])
    session.sessions.maintain()
    session.sessions.read()
    assert called == []
    assert ConnectionHealth.objects.get(pk=laned.pk).circuit_open_until is not None


def test_a_lane_whose_accounts_could_not_be_looked_for_is_read_in_the_next_round(
    laned: ExecutionConnection, session: TradingRuntime, called: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The database was away for a moment: they would have waited for their next reading, up to a
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


def test_a_round_under_way_opens_nothing_once_its_process_has_ended(
    transactional_db: None, broker: FakeBroker
) -> None:
    """It would open a session on a loop of its own, in the lane of the next owner."""
    present = TradingRuntime("sessions")
    present.start()
    opened, refused, began = [], [], threading.Event()

    async def opens() -> None:
        opened.append(1)

    def late() -> None:
        began.set()
        assert present._ended.wait(10)
        try:
            run_on_process_loop(opens())
        except of_process.LaneNotHeldError as error:
            refused.append(error)

    present.start_background_jobs([("late", 0.01, late)])
    assert began.wait(10)
    present.stop()
    present.dispatcher.join(30)
    present.dispatcher.loop.close()
    assert (opened, len(refused)) == ([], 1)
    run_on_process_loop(opens())  # whoever comes after it has a loop again
    assert opened == [1]
