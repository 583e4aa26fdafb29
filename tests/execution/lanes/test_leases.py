"""One process at a time holds a lane, and all share them."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from common.clocks import machine_time
from connections.models import ConnectionHealth, ExecutionConnection, LaneLease
from execution.models import WorkerLease
from execution.runtime import lane_leases
from execution.runtime.lane_leases import LaneLeaseManager, LaneSelection, fair_share
from signals.models import Feed
from tests.execution import factories
from tests.execution.lanes.processes import IN_A_LANE, LEASE, expire_leases, lane_manager


@pytest.mark.django_db
def test_lane_has_one_owner_and_the_next_only_after_the_lease_expired(
    laned: ExecutionConnection,
) -> None:
    one, other = lane_manager("one", "sessions"), lane_manager("other", IN_A_LANE, lease=600)
    expire_leases("other")
    assert one.balance() == [IN_A_LANE]
    WorkerLease.objects.filter(id="other").update(lease_until=timezone.now() + timedelta(1))
    assert other.balance() == []
    assert (one.held(), other.held()) == ((IN_A_LANE,), ())
    assert LaneLease.objects.get().fence == 1
    expire_leases("one")
    assert other.balance() == [IN_A_LANE]
    assert LaneLease.objects.get().fence == 2
    one.renew()  # it finds its row gone
    assert one.held() == ()
    assert one.pop_lost() == [IN_A_LANE]
    assert one.until(IN_A_LANE) < machine_time() < other.until(IN_A_LANE)
    assert LaneLease.objects.get().owner == "other"


@pytest.mark.django_db
def test_stalled_process_does_not_trust_its_own_lease(
    laned: ExecutionConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = lane_manager("one", "sessions")
    one.balance()
    later = machine_time() + LEASE + 0.001
    monkeypatch.setattr("execution.runtime.lane_leases.machine_time", lambda: later)
    assert one.held() == ()  # although no process has notified it
    one.renew()  # no process took it meanwhile: it still owns the lane
    assert one.held() == (IN_A_LANE,)


@pytest.mark.django_db
@pytest.mark.parametrize("asked", ["take_leases", "renew_leases"])
def test_lease_counts_from_before_the_request_for_it(
    laned: ExecutionConnection, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    """The database counts from its own moment, which is no earlier."""
    one = lane_manager("one", "sessions")
    now, ask = [machine_time()], getattr(lane_leases, asked)

    def slow(*leases: Any, **more: Any) -> Any:
        now[0] += 2
        return ask(*leases, **more)

    monkeypatch.setattr(lane_leases, "machine_time", lambda: now[0])
    monkeypatch.setattr(lane_leases, asked, slow)
    for act in (one.balance, one.renew):
        began = now[0]
        act()
        assert one.until(IN_A_LANE) == began + LEASE


@pytest.mark.django_db
def test_lane_taken_again_during_a_renewal_stays_ours(
    laned: ExecutionConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = lane_manager("one", "sessions")
    one.balance()

    def now() -> float:  # called between the fence check and the UPDATE
        monkeypatch.undo()
        one.release([IN_A_LANE])
        assert one.balance() == [IN_A_LANE]
        return machine_time()

    monkeypatch.setattr("execution.runtime.lane_leases.machine_time", now)
    one.renew()
    assert (one.held(), one.pop_lost()) == ((IN_A_LANE,), [])


@pytest.mark.django_db
def test_lane_taken_while_the_process_stops_is_released(
    laned: ExecutionConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = lane_manager("one", "sessions")

    def now() -> float:  # called right before a lane is taken
        monkeypatch.undo()
        one.release_all()
        return machine_time()

    monkeypatch.setattr("execution.runtime.lane_leases.machine_time", now)
    assert one.balance() == []
    assert (one.held(), one.releasing) == ((), [IN_A_LANE])
    one.release(one.releasing)
    assert one.balance() == []
    assert LaneLease.objects.get().owner == ""


@pytest.mark.django_db(transaction=True)
def test_one_of_many_processes_gets_a_free_lane(laned: ExecutionConnection) -> None:
    all_of_them = [lane_manager(f"p{n}", IN_A_LANE) for n in range(8)]
    taken: list[str] = []
    start = threading.Barrier(len(all_of_them))

    def reach(one: LaneLeaseManager) -> None:
        from django.db import connection

        start.wait(60)
        taken.extend(one.balance())
        connection.close()

    threads = [threading.Thread(target=reach, args=(one,)) for one in all_of_them]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert taken == [IN_A_LANE]
    assert sum(one.held() == (IN_A_LANE,) for one in all_of_them) == 1


@pytest.mark.django_db
def test_new_lane_owner_reconciles_its_accounts_again(laned: ExecutionConnection) -> None:
    health = ConnectionHealth.objects.filter(connection=laned)
    assert health.get().reconciled_at is not None
    lane_manager("one", "sessions").balance()
    assert health.get().reconciled_at is None
    assert not laned.can_execute_trades()


@given(st.integers(0, 60), st.integers(1, 20))
def test_fair_shares_cover_all_lanes(many: int, workers: int) -> None:
    assert fair_share(many, workers) * workers >= many
    assert fair_share(many, workers) * workers < many + workers


@pytest.mark.django_db
def test_lanes_are_released_to_a_new_process(feed: Feed) -> None:
    for n in range(6):
        one = factories.account(feed)
        ExecutionConnection.objects.filter(pk=one.pk).update(lane=f"sessions.{n}")
    changes: list[tuple[str, bool]] = []
    first = lane_manager("first", "sessions")
    first._on_change = lambda lane, is_ours: changes.append((lane, is_ours))
    assert len(first.balance()) == 6
    second = lane_manager("second", "sessions")
    assert second.balance() == []
    first.balance()
    assert first.releasing == ["sessions.3", "sessions.4", "sessions.5"]
    assert first.held() == ("sessions.0", "sessions.1", "sessions.2")  # nothing new in the others
    assert first.until("sessions.4") > machine_time()  # claimed orders may still be sent
    assert second.balance() == []
    first.release(first.releasing)
    assert second.balance() == ["sessions.3", "sessions.4", "sessions.5"]
    assert changes[-3:] == [("sessions.3", False), ("sessions.4", False), ("sessions.5", False)]
    named = lane_manager("named", "sessions.0")  # a process that names a lane gets it
    first.balance()
    assert first.releasing == ["sessions.0"]
    first.release(first.releasing)
    assert named.balance() == ["sessions.0"]
    assert first.balance() == []


def test_queues_select_the_lanes_of_a_process() -> None:
    assert LaneSelection.of(["exits", "maintenance"]) == LaneSelection(True, False, frozenset())
    assert LaneSelection.of(["sessions"]) == LaneSelection(False, True, frozenset())
    assert LaneSelection.of(["mt5.main"]) == LaneSelection(False, False, frozenset({"mt5.main"}))
    assert LaneSelection.of(["execution", "sessions"]).general
