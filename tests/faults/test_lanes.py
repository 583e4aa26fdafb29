"""Brokers with sessions: only one process at a time calls an account, even if it dies or stops.

The broker is a third party's broker type, found by its entry point: the paper broker's server with
a session (`tests/fakes/sessioned`). It records every call with the process that made it.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.conftest import CROWD
from tests.faults.environment import FaultEnvironment, Scenario, _reused
from tests.faults.process_fleet import FAST, Process, wait_until
from tests.faults.servers import ROOT, Servers
from tests.faults.test_entries import all_ended

pytestmark = [pytest.mark.faults]
LEASE = float(FAST["FILLCAST_LEASE_SECONDS"])
LANES, OTHERS = 8, 50
TO_LANES = f"""
UPDATE connections_executionconnection
SET type = 'sessioned', lane = 'sessions.' || abs(hashtext(id::text)) % {LANES}
"""
SUBSCRIBERS = """
WHERE id IN (SELECT s.connection_id FROM connections_subscription s
  JOIN signals_feed f ON f.id = s.feed_id WHERE f.slug = 'bench-200')
"""
OWNERS = """
SELECT l.lane, w.pid FROM connections_lanelease l JOIN execution_workerlease w ON w.id = l.owner
WHERE l.until >= clock_timestamp() ORDER BY l.lane
"""
ORPHANED_LEASES = """
SELECT count(*) FROM connections_lanelease l LEFT JOIN execution_workerlease w ON w.id = l.owner
WHERE l.until >= clock_timestamp() AND w.id IS NULL
"""
CHANGES = ("submit", "cancel", "modify")


@dataclass(frozen=True)
class Call:
    """A call when it left. at: time.time()."""

    at: float
    pid: int
    what: str
    connection: str


class Laned(FaultEnvironment):
    """An environment in which every account needs a session."""

    def __init__(self, servers: Servers, folder: Path, state: str = "") -> None:
        self.journal = folder / "calls.log"
        if (kept := _reused.get(servers)) and kept.operator is not None:
            kept.operator.kill()  # a new one knows the broker type too
        plugin = str(ROOT / "tests/fakes/plugin")
        environ = {"PYTHONPATH": plugin, "SESSIONED_JOURNAL": str(self.journal)}
        super().__init__(servers, folder, environ, state)

    def calls(self) -> list[Call]:
        """Return all calls in order."""
        lines = self.journal.read_text().splitlines() if self.journal.exists() else []
        fields = [line.split() for line in lines]
        return [Call(float(at), int(pid), what, connection) for at, pid, what, connection in fields]

    def owners(self) -> dict[str, int]:
        """Return the process id of each lane's owner."""
        return {row.lane: row.pid for row in self.ours.rows(OWNERS)}

    def sessions(self, name: str, queues: str = "sessions", *, wait: bool = True) -> Process:
        return self.fleet.worker(name, queues, wait=wait, threads=2)

    def shared(self, *workers: Process, seconds: float = 20) -> float:
        """Wait until these workers hold all lanes in fair shares."""

        def fair() -> bool:
            owners = list(self.owners().values())
            counts = [owners.count(worker.pid) for worker in workers]
            return len(owners) == sum(counts) == LANES and max(counts) - min(counts) <= 1

        return self.wait(fair, f"not shared: {self.owners()}", seconds)

    def ready(self) -> None:
        """Wait until all accounts are reconciled, so that entries may be sent."""
        missing = "SELECT count(*) FROM connections_connectionhealth WHERE reconciled_at IS NULL"
        self.wait(lambda: self.ours.value(missing) == 0, "not compared", 60)


@pytest.fixture
def laned(servers: Servers, tmp_path: Path) -> Iterator[Laned]:
    """Return an environment with CROWD accounts that all need a session."""
    with Laned(servers, tmp_path, servers.state_with(CROWD)) as environment:
        environment.ours.rows(TO_LANES)
        yield environment


@pytest.fixture
def few_laned(servers: Servers, tmp_path: Path) -> Iterator[Laned]:
    """Return an environment in which only the subscribers of the feed with 200 need a session.

    OTHERS more are the general worker's.
    """
    with Laned(servers, tmp_path, servers.state_with(200 + OTHERS)) as environment:
        environment.ours.rows(TO_LANES + SUBSCRIBERS)
        yield environment


def by_connection(calls: list[Call]) -> dict[str, list[int]]:
    """Return the processes that called each account, in order."""
    pids: dict[str, list[int]] = defaultdict(list)
    for call in calls:
        if call.connection != "-" and pids[call.connection][-1:] != [call.pid]:
            pids[call.connection].append(call.pid)
    return pids


@pytest.mark.quick
def test_session_workers_share_lanes_and_only_they_make_calls(few_laned: Laned) -> None:
    # Long enough that no lease expires in a pause of a busy machine.
    few_laned.fleet.environ["FILLCAST_LEASE_SECONDS"] = "10"
    general = few_laned.fleet.worker("general", "execution,exits,maintenance", wait=False)
    one, other = few_laned.sessions("one", wait=False), few_laned.sessions("other", wait=False)
    few_laned.fleet.wait_for_lease(general, one, other)
    few_laned.shared(one, other, seconds=60)
    few_laned.ready()
    few_laned.quote()
    few_laned.operator.do("publish", feed=200)
    few_laned.settle()
    all_ended(few_laned, 200, absent_at_most=0)
    entries = [call for call in few_laned.calls() if call.what == "submit"]
    assert len(entries) == 200
    assert {call.pid for call in entries} == {one.pid, other.pid}
    opening = few_laned.ours.value("SELECT min(id) FROM signals_signal")
    few_laned.operator.do("publish", action="CLOSE", refers_to=opening)
    few_laned.wait(lambda: few_laned.count.open_positions() == 0, "not flat")
    few_laned.settle()
    assert general.pid not in {call.pid for call in few_laned.calls()}
    # Lanes move from the first worker to the other, never back.
    assert all(len(pids) <= 2 for pids in by_connection(few_laned.calls()).values())
    assert few_laned.count.wrong(200) == {}


def test_lanes_of_killed_owner_move_and_orders_are_sent_once(laned: Laned) -> None:
    laned.fleet.worker("maintenance", "maintenance", wait=False)
    victim, other = laned.sessions("victim", wait=False), laned.sessions("other", wait=False)
    laned.fleet.wait_for_lease(victim, other)
    laned.shared(victim, other)
    laned.ready()
    laned.broker(reply_delay_ms=300)
    laned.quote()
    laned.operator.do("publish", feed=500)
    laned.wait(lambda: laned.count.in_flight() > 20, "nothing under way")
    victim.kill()
    scenario = Scenario(laned)
    took = laned.shared(other, seconds=LEASE + 4)
    print(f"the lanes moved after {took:.1f} s; the lease is {LEASE:g} s")
    laned.settle()
    scenario.end()
    all_ended(laned, 500, absent_at_most=scenario.in_flight)
    assert laned.count.refused_again() == 0
    laned.ready()
    laned.quote()
    laned.operator.do("publish", feed=200)  # and they trade on
    laned.settle()
    all_ended(laned, 700, absent_at_most=scenario.in_flight)


@pytest.mark.parametrize(
    ("point", "nth"),
    [("dispatch.begin", 2), ("claim.committed", 2), ("pending_actions.committed", 1)],
)
def test_owner_stopped_past_its_lease_sends_nothing(laned: Laned, point: str, nth: int) -> None:
    laned.fleet.worker("maintenance", "maintenance", wait=False)
    victim = laned.fleet.worker("victim", "sessions", threads=2, faults=f"{point}:stop:{nth}")
    laned.shared(victim)
    laned.ready()
    laned.quote()
    if point == "pending_actions.committed":
        laned.operator.do("publish", feed=200, order_type="LIMIT", open_price="1.05", sl="1.04")
        laned.settle()
        working = laned.ours.rows("SELECT id FROM execution_order")
        laned.ours.rows(
            "UPDATE execution_order SET pending_action = 'CANCEL', due_at = clock_timestamp()"
        )
        assert len(working) == 200
    else:
        laned.operator.do("publish", feed=200, together=False)
    laned.wait(lambda: victim.stopped, f"no process reached {point}")
    scenario = Scenario(laned)
    other = laned.sessions("other")
    laned.shared(other, seconds=LEASE + 6)
    laned.settle()
    left = len([call for call in laned.calls() if call.pid == victim.pid])
    accepted, since = laned.count.accepted(), time.time()
    victim.go_on()
    # It has lost its lanes; as a live process it gets its share again and reconciles it.
    laned.shared(victim, other, seconds=30)
    laned.ready()
    late = [c for c in laned.calls() if c.pid == victim.pid and c.at > since and c.what in CHANGES]
    assert late == []
    assert left <= len([call for call in laned.calls() if call.pid == victim.pid])
    assert laned.count.accepted() == accepted
    scenario.end()
    assert laned.count.wrong(200) == {}


def test_orders_wait_for_terminal_worker_with_reason(laned: Laned) -> None:
    laned.ours.rows(
        "UPDATE connections_executionconnection SET lane = 'mt5.main',"
        ' settings = \'{"lane": "mt5.main"}\''
    )
    laned.fleet.worker("general", "execution,exits,maintenance", wait=False)
    laned.sessions("sessions")
    laned.quote()
    laned.operator.do("publish", feed=50)

    def is_waiting() -> bool:
        reasons = laned.ours.rows("SELECT DISTINCT status, reason FROM execution_order")
        return [(row.status, row.reason) for row in reasons] == [("PENDING", "NO_SESSION_WORKER")]

    laned.wait(is_waiting, "the reason for waiting is not stored")
    assert laned.calls() == []
    beside = laned.sessions("beside", "mt5.main")
    laned.quote()
    laned.settle()
    states = laned.count.states()
    assert states.get("FILLED", 0) + states.get("DENIED SIGNAL_TOO_OLD", 0) == 50
    assert {call.pid for call in laned.calls()} <= {beside.pid}
    laned.quote()
    laned.operator.do("publish", feed=50)
    laned.settle()
    assert laned.count.states()["FILLED"] == states.get("FILLED", 0) + 50


def test_terminated_worker_releases_its_lanes_immediately(few_laned: Laned) -> None:
    few_laned.fleet.environ["FILLCAST_LEASE_SECONDS"] = "10"
    leaving = few_laned.sessions("leaving")
    few_laned.shared(leaving)
    staying = few_laned.sessions("staying")
    took = few_laned.shared(leaving, staying)
    print(f"shared {took:.1f} s after the second came")
    disconnected = {call.connection for call in few_laned.calls() if call.what == "disconnect"}
    moved = {lane for lane, pid in few_laned.owners().items() if pid == staying.pid}
    connections = few_laned.ours.rows("SELECT id, lane FROM connections_executionconnection")
    lanes = {str(row.id): row.lane for row in connections}
    assert {lanes[pk] for pk in disconnected} == moved
    began = time.monotonic()
    assert leaving.end() == 0
    assert few_laned.ours.value(ORPHANED_LEASES) == 0  # released, so no worker waits for expiry
    few_laned.shared(staying)
    print(f"all of them {time.monotonic() - began:.1f} s after SIGTERM")
    assert wait_until(lambda: not few_laned.fleet.has_lease(leaving.pid), 5, "its lease stays") < 5
