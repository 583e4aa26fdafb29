"""Two machines with workers, of which one dies with all its processes at once.

Each has a folder of its own, as machines have; they share PostgreSQL and Redis.
"""

import signal
from pathlib import Path

import pytest

from tests.faults.conftest import CROWD, OPENED
from tests.faults.environment import FaultEnvironment, Scenario
from tests.faults.process_fleet import Process
from tests.faults.test_entries import all_ended
from tests.faults.test_processes import burst

pytestmark = [pytest.mark.faults]
QUEUES = ("execution", "exits", "maintenance")
MARKET = {"bid": "1.09400", "ask": "1.09410"}  # below the stops of all positions


def host(environment: FaultEnvironment, name: str) -> list[Process]:
    """Start the workers of a machine."""
    folder = Path(environment.folder) / name
    folder.mkdir()
    return [
        environment.fleet.worker(f"{name}-{queue}", queue, wait=False, FILLCAST_VAR=str(folder))
        for queue in QUEUES
    ]


def hosts(environment: FaultEnvironment) -> tuple[list[Process], list[Process]]:
    """Start two machines; wait until all their processes trade."""
    first, second = host(environment, "first"), host(environment, "second")
    environment.fleet.wait_for_lease(*first, *second)
    return first, second


def die(processes: list[Process]) -> None:
    """Kill all processes of a machine at once."""
    for process in processes:
        process.signal(signal.SIGKILL)
    for process in processes:
        process.popen.wait(10)


def share(environment: FaultEnvironment, processes: list[Process]) -> int:
    """Return how many intents a machine's processes have written."""
    ids = [
        row.id
        for process in processes
        for row in environment.ours.rows(
            "SELECT id FROM execution_workerlease WHERE pid = %s", process.pid
        )
    ]
    return int(
        environment.ours.value(
            "SELECT count(*) FROM execution_order WHERE worker_id = ANY(%s)", ids
        )
    )


def test_host_dies_in_a_burst_of_entries(crowded: FaultEnvironment) -> None:
    first, second = hosts(crowded)
    expected = burst(crowded)
    crowded.wait(
        lambda: share(crowded, first) > CROWD // 4 and share(crowded, second) > CROWD // 4,
        "one machine does all of it",
    )
    assert crowded.count.unsettled() > 0
    die(first)
    scenario = Scenario(crowded)
    crowded.settle()
    scenario.end()
    assert all(process.alive for process in second)
    all_ended(crowded, expected, absent_at_most=scenario.in_flight)


def test_host_dies_while_stops_are_hit(watched: FaultEnvironment) -> None:
    first, second = hosts(watched)
    watched.broker(reply_delay_ms=300)
    watched.quote(**MARKET)
    watched.wait(lambda: watched.count.in_flight() > 0, "no exit has left", 90)
    die(first)
    scenario = Scenario(watched)
    watched.wait(lambda: watched.count.open_positions() == 0, "not closed", 90)
    watched.settle()
    scenario.end()
    assert all(process.alive for process in second)
    assert watched.count.wrong(OPENED) == {}
