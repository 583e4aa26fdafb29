"""Workers that are forked, as the stack runs them, in a burst: they and their fork server die."""

import os
import signal
from collections.abc import Iterator

import pytest

from ops.stack import stack
from ops.stack.fork_server import can_fork
from ops.stack.supervisor import Supervisor
from tests.faults.environment import FaultEnvironment, Scenario
from tests.faults.process_fleet import START_SECONDS
from tests.faults.servers import ROOT
from tests.faults.test_entries import all_ended
from tests.faults.test_processes import burst

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not can_fork(), reason="needs Linux"),
]
SERVER = "fork-server"
WORKERS = {"worker-1": "execution", "worker-2": "execution", "maintenance": "maintenance"}


@pytest.fixture
def environment(crowded: FaultEnvironment) -> FaultEnvironment:
    return crowded


@pytest.fixture
def supervisor(environment: FaultEnvironment) -> Iterator[Supervisor]:
    """The workers under the stack's supervisor; all have their lease."""
    supervisor = Supervisor(
        [stack.worker_process(name, queues) for name, queues in WORKERS.items()],
        environ=environment.fleet.environ,
        logs=environment.folder / "log",
        folder=ROOT,
        report=print,
        fork_server=stack.fork_server(),
    )
    supervisor.start()
    try:
        assert supervisor.wait_ready(START_SECONDS), supervisor.unready()
        yield supervisor
    finally:
        supervisor.request_stop()
        supervisor.request_stop()  # at once
        supervisor.stop()


def pids(supervisor: Supervisor) -> dict[str, int | None]:
    return {name: running.pid for name, running in supervisor.children.items()}


def is_forked(supervisor: Supervisor, name: str) -> bool:
    """Return whether a process still has the environment that the server was started with."""
    with open(f"/proc/{supervisor.children[name].pid}/environ", "rb") as environ:
        return f"/.{SERVER}.ready".encode() in environ.read()


@pytest.mark.parametrize(
    "dead",
    [
        pytest.param([], id="alone"),
        pytest.param(["worker-1"], id="with one"),
        pytest.param([*WORKERS], id="with all"),
    ],
)
def test_fork_server_and_workers_killed_in_a_burst(
    environment: FaultEnvironment, supervisor: Supervisor, dead: list[str]
) -> None:
    before = pids(supervisor)
    expected = burst(environment)
    environment.wait(
        lambda: environment.count.in_flight() > 0 and environment.filled() > 0, "not in the middle"
    )
    assert environment.count.unsettled() >= 3_000
    for name in (SERVER, *dead):
        pid = before[name]
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    scenario = Scenario(environment)
    environment.settle()
    scenario.end()
    environment.wait(lambda: supervisor.unready() == [], "not all processes are back")
    after = pids(supervisor)
    assert {name for name in after if after[name] != before[name]} == {SERVER, *dead}
    assert all(is_forked(supervisor, name) for name in WORKERS)
    all_ended(environment, expected, absent_at_most=scenario.in_flight if dead else 0)
