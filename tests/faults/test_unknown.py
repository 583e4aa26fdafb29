"""Workers and brokers that die while an unknown order is resolved."""

import pytest

from tests.faults.environment import FaultEnvironment, Scenario
from tests.faults.process_fleet import EVERYTHING
from tests.faults.test_entries import all_ended

pytestmark = [pytest.mark.faults]
N = 50


@pytest.mark.parametrize("action", ["kill", "stop"])
def test_lost_reply_is_looked_up_after_first_worker_died(
    environment: FaultEnvironment, action: str
) -> None:
    environment.broker(silent_after=True)
    victim = environment.fleet.worker("victim", faults=f"lookup.answered:{action}")
    environment.quote()
    environment.operator.do("publish", feed=N)
    environment.wait(lambda: not victim.alive or victim.stopped, "no look-up was made")
    scenario = Scenario(environment)
    environment.fleet.worker("successor")
    environment.settle()
    scenario.end()
    if action == "stop":
        victim.go_on()
        environment.fleet.wait_for_lease(victim)
        victim.end()
    assert scenario.in_flight > 0
    all_ended(environment, N, absent_at_most=0)


def test_successor_may_die_during_takeover(environment: FaultEnvironment) -> None:
    environment.broker(reply_delay_ms=300)
    first = environment.fleet.worker("first", faults="dispatch.guarded:kill:20")
    environment.quote()
    environment.operator.do("publish", feed=N)
    environment.wait(lambda: not first.alive, "the first did not die")
    second = environment.fleet.worker("second", faults="orphans.committed:kill")
    environment.wait(lambda: not second.alive, "the second did not die")
    scenario = Scenario(environment)
    environment.fleet.worker("third")
    environment.settle()
    scenario.end()
    all_ended(environment, N, absent_at_most=N)


@pytest.mark.parametrize("action", ["kill", "stop"])
@pytest.mark.parametrize("proof", [1, 2])
def test_absence_is_confirmed_twice_after_worker_died(
    environment: FaultEnvironment, proof: int, action: str
) -> None:
    environment.broker(silent_before=True)
    victim = environment.fleet.worker("victim", faults=f"absence.committed:{action}:{proof}")
    environment.quote()
    environment.operator.do("publish", feed=N)
    environment.wait(lambda: not victim.alive or victim.stopped, "no absence was confirmed", 60)
    scenario = Scenario(environment)
    environment.broker(silent_before=False)
    environment.fleet.worker("successor")
    environment.settle()
    scenario.end()
    if action == "stop":
        victim.go_on()
        environment.fleet.wait_for_lease(victim)
        victim.end()
    assert environment.count.states() == {"FAILED NEVER_ARRIVED": N}
    assert environment.count.accepted() == 0
    assert environment.count.wrong(N) == {}


@pytest.mark.parametrize("point", ["broker.received", "broker.accepted"])
@pytest.mark.parametrize("action", ["kill", "stop"])
def test_broker_dies_or_stops(environment: FaultEnvironment, point: str, action: str) -> None:
    broker = environment.venue.start(faults=f"{point}:{action}:2")
    environment.fleet.worker(queues=EVERYTHING)
    environment.quote()
    environment.operator.do("publish", feed=200)
    environment.wait(lambda: not broker.alive or broker.stopped, "no process reached it")
    scenario = Scenario(environment)
    if action == "stop":  # longer than any call waits for its answer
        environment.wait(
            lambda: environment.count.states().get("UNKNOWN", 0) > 0, "nothing became unknown"
        )
        broker.go_on()
    else:
        environment.venue.start()
    environment.quote()
    environment.settle()
    scenario.end()
    environment.venue.kill()  # the next case needs one without a fault
    environment.venue.start()
    all_ended(environment, 200, absent_at_most=scenario.in_flight)
