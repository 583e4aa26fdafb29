"""A worker that dies or is stopped at each step of an entry, and a publisher that dies."""

from typing import Any

import pytest

from tests.faults.environment import TAKE_OVER_SECONDS, FaultEnvironment, Scenario
from tests.faults.process_fleet import OperatorDiedError

pytestmark = [pytest.mark.faults]
N = 200  # four bundles of 50
# Failpoints of a worker, and at which hit each acts.
WORKER = {
    "claim.locked": 2,
    "claim.written": 2,
    "claim.committed": 2,
    "dispatch.begin": 2,
    "dispatch.recorded": 70,
    "dispatch.guarded": 70,
    "dispatch.answered": 20,
    "reports.gathered": 1,
    "reports.written": 1,
    "reports.committed": 1,
}
QUICK = {"claim.committed", "reports.written"}


def quick(points: dict[str, int]) -> list[Any]:
    """Return the failpoints as parameters; some also run in `make test`."""
    return [
        pytest.param(name, nth, marks=[pytest.mark.quick] if name in QUICK else [], id=name)
        for name, nth in points.items()
    ]


def all_ended(environment: FaultEnvironment, expected: int, *, absent_at_most: int) -> None:
    """Check that each entry is filled.

    Only entries whose intent was stored at the fault may be confirmed absent, since it is unknown
    whether they had left.
    """
    states = environment.count.states()
    absent = states.pop("FAILED NEVER_ARRIVED", 0)
    assert states.pop("FILLED", 0) + absent == expected
    assert states == {}
    assert absent <= absent_at_most
    assert environment.count.wrong(expected) == {}


@pytest.mark.parametrize(("point", "nth"), quick(WORKER))
def test_worker_killed_at_failpoint_loses_and_doubles_nothing(
    environment: FaultEnvironment, point: str, nth: int
) -> None:
    victim = environment.fleet.worker("victim", faults=f"{point}:kill:{nth}")
    environment.broker(reply_delay_ms=100)
    environment.quote()
    environment.operator.do("publish", feed=N)
    environment.wait(lambda: not victim.alive, f"no process reached {point}")
    scenario = Scenario(environment)
    assert victim.popen.returncode == -9
    assert scenario.in_flight + scenario.at_fault.get("PENDING", 0) > 0
    environment.fleet.worker("successor")  # its start is not part of the measured time
    took = environment.wait(
        lambda: environment.taken_over(victim), "its orders were not taken over"
    )
    assert took <= TAKE_OVER_SECONDS
    environment.settle()
    scenario.end()
    all_ended(environment, N, absent_at_most=scenario.in_flight)


@pytest.mark.parametrize("point", ["decision.answered", "decision.stored"])
def test_worker_killed_at_decision_sends_each_entry_once(
    environment: FaultEnvironment, point: str
) -> None:
    environment.rules_decide()
    victim = environment.fleet.worker("victim", faults=f"{point}:kill:2")
    environment.broker(reply_delay_ms=100)
    environment.quote()
    environment.operator.do("publish", feed=N)
    environment.wait(lambda: not victim.alive, f"no process reached {point}")
    scenario = Scenario(environment)
    environment.fleet.worker("successor")
    environment.settle()
    scenario.end()
    all_ended(environment, N, absent_at_most=scenario.in_flight)
    decided = "SELECT count(*) FROM execution_entrydecision WHERE factor = 1"
    assert environment.ours.value(decided) == N


@pytest.mark.parametrize(("point", "nth"), WORKER.items(), ids=WORKER)
def test_worker_stopped_at_failpoint_sends_nothing_late(
    environment: FaultEnvironment, point: str, nth: int
) -> None:
    victim = environment.fleet.worker("victim", faults=f"{point}:stop:{nth}", wait=False)
    other = environment.fleet.worker("other", wait=False)
    environment.fleet.wait_for_lease(victim, other)
    environment.broker(reply_delay_ms=100)
    environment.quote()
    other.stop()  # so that the work is the victim's
    environment.operator.do("publish", feed=N)
    environment.wait(lambda: victim.stopped, f"no process reached {point}")
    scenario = Scenario(environment)
    other.go_on()
    environment.settle()  # longer than its lease and both absence confirmations of its orders
    scenario.end()
    environment.wait(lambda: not environment.fleet.has_lease(victim.pid), "it is believed alive")
    accepted = environment.count.accepted()
    victim.go_on()
    other.end()
    environment.fleet.wait_for_lease(victim)
    environment.quote()
    environment.operator.do("publish", feed=50)  # its fills come after all that it was working on
    environment.settle()
    all_ended(environment, N + 50, absent_at_most=scenario.in_flight)
    assert environment.count.accepted() == accepted + 50


@pytest.mark.parametrize(
    ("point", "published"),
    [
        ("publish.written", 0),
        ("enqueue.bundle:kill:1", 1),
        ("enqueue.bundle:kill:3", 1),
        ("enqueue.done", 1),
    ],
)
def test_publisher_killed_at_failpoint_published_all_or_nothing(
    environment: FaultEnvironment, point: str, published: int
) -> None:
    environment.fleet.worker()
    environment.quote()
    armed = point if ":" in point else f"{point}:kill"
    with pytest.raises(OperatorDiedError):
        environment.fleet.operator(faults=armed).do("publish", feed=N)
    scenario = Scenario(environment)
    environment.settle()
    scenario.end()
    signals = "SELECT count(*) FROM signals_signal WHERE published_at IS NOT NULL"
    assert environment.ours.value(signals) == published
    all_ended(environment, N * published, absent_at_most=0)
