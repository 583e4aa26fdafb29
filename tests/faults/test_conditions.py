"""Processes that die while entries wait for another signal: each is sent once, none is lost."""

import pytest

from tests.faults.environment import FaultEnvironment, Scenario
from tests.faults.process_fleet import EVERYTHING
from tests.faults.test_triggers import touch

pytestmark = [pytest.mark.faults]
N = 200
HELD = "SELECT count(*) FROM execution_order WHERE reason = 'AWAITING_CONDITION'"
AWAITS = "SELECT count(*) FROM execution_order WHERE awaits_condition"
FILLED = "SELECT count(*) FROM execution_order WHERE status = 'FILLED' AND leg = 'entry'"


def publish_both(environment: FaultEnvironment) -> None:
    """Publish buys that wait until the ask is at 1.0950, and buys that follow when those fill."""
    environment.quote()
    [first] = environment.operator.do(
        "publish", feed=N, order_type="IF_TOUCHED", stop_price="1.0950", sl="1.08"
    )
    environment.operator.do(
        "publish", feed=N, after_signal_id=first, after_state="FILLED", sl="1.08"
    )
    environment.wait(lambda: environment.ours.value(HELD) == N, "not all wait")


def all_sent_once(environment: FaultEnvironment) -> None:
    environment.wait(lambda: environment.ours.value(FILLED) == 2 * N, "not all were sent")
    environment.settle()
    assert environment.ours.value(AWAITS) == 0
    assert environment.count.accepted() == 2 * N
    assert environment.count.wrong(2 * N) == {}


@pytest.mark.parametrize("point", ["conditions.met", "conditions.woken"])
def test_worker_killed_while_it_releases_entries_sends_each_once(
    environment: FaultEnvironment, point: str
) -> None:
    """Either nothing is committed, and they are judged again, or they are due and are polled."""
    victim = environment.fleet.worker("victim", EVERYTHING, faults=f"{point}:kill")
    publish_both(environment)
    touch(environment)
    environment.fleet.prices()
    environment.wait(lambda: not victim.alive, f"no process reached {point}")
    scenario = Scenario(environment)
    environment.fleet.worker("successor", EVERYTHING)
    all_sent_once(environment)
    scenario.end()
