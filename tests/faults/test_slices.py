"""Workers that die while hedging accounts enter in slices: each slice once, a ticket each."""

import pytest

from tests.faults.environment import FaultEnvironment, Scenario
from tests.faults.process_fleet import EVERYTHING

pytestmark = [pytest.mark.faults]
N = 200
FILLED = "SELECT count(*) FROM execution_order WHERE status = 'FILLED' AND leg LIKE 'entry%'"
TICKETS = "SELECT count(DISTINCT broker_position_id) FROM positions_executionposition"
UNLIKE_ITS_ENTRY = """
SELECT count(*) FROM positions_executionposition p LEFT JOIN execution_order e
  ON e.connection_id = p.connection_id AND e.signal_id = p.signal_id AND e.leg = p.entry_leg
WHERE e.filled_quantity IS DISTINCT FROM p.opened_quantity OR e.position_leg <> e.leg
"""
ENDED = "SELECT count(*) FROM positions_executionposition WHERE quantity = 0"


@pytest.mark.parametrize("point", ["claim.written", "reports.written", "reports.committed"])
def test_worker_killed_in_slices_opens_each_ticket_once(
    environment: FaultEnvironment, point: str
) -> None:
    """Then a CLOSE ends every ticket once."""
    environment.quote()
    victim = environment.fleet.worker("victim", EVERYTHING, faults=f"{point}:kill")
    scenario = Scenario(environment)
    [signal] = environment.operator.do(
        "publish", feed=N, sl="1.08", execution_style="TWAP", duration_seconds=60, slice_count=2
    )
    environment.wait(lambda: not victim.alive, f"no process reached {point}")
    environment.fleet.worker("successor", EVERYTHING)

    def all_filled() -> bool:
        environment.quote()
        return bool(environment.ours.value(FILLED) == 2 * N)

    environment.wait(
        all_filled,
        "not all slices were sent",
        seconds=90,
    )
    environment.settle()
    assert environment.ours.value(TICKETS) == 2 * N
    assert environment.ours.value(UNLIKE_ITS_ENTRY) == 0
    assert environment.count.accepted() == 2 * N
    assert environment.count.wrong(2 * N) == {}
    environment.expect_protected()
    environment.operator.do("publish", feed=N, action="CLOSE", refers_to=signal)
    environment.wait(lambda: environment.ours.value(ENDED) == 2 * N, "not all were closed")
    environment.settle()
    assert environment.count.accepted() == 4 * N
    assert environment.count.wrong(2 * N) == {}
    scenario.end()
