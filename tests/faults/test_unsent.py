"""What a killed worker had not sent is sent by another one of its machine, and nothing twice."""

from pathlib import Path

import pytest

from tests.faults.environment import FaultEnvironment, Scenario

pytestmark = [pytest.mark.faults]
N = 200  # four bundles of 50


def publish_to(environment: FaultEnvironment, fault: str) -> None:
    """Publish an entry, and wait until its worker has died by the fault."""
    victim = environment.fleet.worker("victim", faults=fault)
    environment.broker(reply_delay_ms=100)
    environment.quote()
    environment.operator.do("publish", feed=N)
    environment.wait(lambda: not victim.alive, f"no process reached {fault}")


@pytest.mark.quick
def test_entries_that_had_not_left_are_filled(environment: FaultEnvironment) -> None:
    """No look-up settles them, so no absence is waited for."""
    publish_to(environment, "claim.committed:kill")  # of a later claim, a first one is being sent
    scenario = Scenario(environment)
    assert scenario.in_flight > 0
    environment.fleet.worker("successor")
    environment.settle()
    scenario.end()
    assert environment.count.states() == {"FILLED": N}
    assert environment.count.accepted() == N
    assert environment.count.wrong(N) == {}


def test_entries_that_may_have_left_are_looked_up(environment: FaultEnvironment) -> None:
    """Killed between the record of a send and the send: of the others none is lost."""
    publish_to(environment, "dispatch.guarded:kill:70")
    scenario = Scenario(environment)
    environment.fleet.worker("successor")
    environment.settle()
    scenario.end()
    states = environment.count.states()
    assert 0 < states.pop("FAILED NEVER_ARRIVED") < scenario.in_flight
    assert states == {"FILLED": environment.count.accepted()}
    assert environment.count.wrong(N) == {}


@pytest.mark.parametrize("point", ["unsent.found", "reports.committed"])
def test_successor_killed_while_it_returns_them(environment: FaultEnvironment, point: str) -> None:
    publish_to(environment, "claim.committed:kill:2")
    second = environment.fleet.worker("second", faults=f"{point}:kill")
    environment.wait(lambda: not second.alive, f"no process reached {point}")
    scenario = Scenario(environment)
    environment.fleet.worker("third")
    environment.settle()
    scenario.end()
    states = environment.count.states()
    states.pop("FAILED NEVER_ARRIVED", 0)  # of what the second had begun to send
    assert states == {"FILLED": environment.count.accepted()}
    assert environment.count.wrong(N) == {}


def test_worker_of_another_machine_looks_them_up(
    environment: FaultEnvironment, tmp_path: Path
) -> None:
    another = tmp_path / "another"
    another.mkdir()
    publish_to(environment, "claim.committed:kill:2")
    scenario = Scenario(environment)
    environment.fleet.worker("successor", FILLCAST_VAR=str(another))
    environment.settle()
    scenario.end()
    states = environment.count.states()
    absent = states.pop("FAILED NEVER_ARRIVED")
    assert 0 < absent <= scenario.in_flight
    assert states == {"FILLED": N - absent}
    assert environment.count.wrong(N) == {}


def ends_by_poison(environment: FaultEnvironment, name: str) -> bool:
    """Start a worker; return whether it dies. Otherwise no order is open any more."""
    worker = environment.fleet.worker(name, imports="tests.faults.poison")
    environment.wait(
        lambda: not worker.alive or environment.count.unsettled() == 0,
        "the worker neither dies nor ends the entries",
    )
    return not worker.alive


def test_only_the_entry_that_ends_its_processes_fails(environment: FaultEnvironment) -> None:
    """What each of them had in hand with it is sent apart from it, and filled."""
    environment.quote()
    environment.operator.do("publish", feed=N)
    deaths = 0
    while ends_by_poison(environment, f"worker-{deaths}"):
        deaths += 1
    assert deaths == 3
    assert environment.count.states() == {"FILLED": N - 1, "FAILED SEND_RETRIES_EXHAUSTED": 1}
    assert environment.count.accepted() == N - 1
    assert environment.count.wrong(N) == {}
