"""Workers that die in the middle of an entry in slices: no slice is sent twice or too large."""

import pytest

from tests.faults.environment import FaultEnvironment, Scenario
from tests.faults.test_triggers import touch

pytestmark = [pytest.mark.faults]
N, SLICES = 50, 3
PLANS = "SELECT count(*) FROM execution_sliceplan"
LEFT = "SELECT count(*) FROM execution_order WHERE leg LIKE 'entry%' AND done_at IS NULL"
# Each entry with what its plan is, what its slices have filled, and what proved not to be sent.
ENTERED = """
SELECT p.quantity AS planned, sum(e.filled_quantity) AS filled,
  coalesce(sum(e.quantity) FILTER (WHERE e.status = 'FAILED'), 0) AS failed
FROM execution_sliceplan p JOIN execution_order f ON f.id = p.order_id
JOIN execution_order e ON e.signal_id = f.signal_id AND e.connection_id = f.connection_id
  AND e.leg LIKE 'entry%'
GROUP BY p.order_id, p.quantity
"""
ACCEPTED = """
SELECT client_order_id FROM paper_order
WHERE client_order_id <> '' AND entry IS NULL AND accepted_at IS NOT NULL
"""
WITHOUT_STOP = """
SELECT count(*) FROM positions_executionposition
WHERE quantity > 0 AND (sl IS NULL OR unprotected_since IS NOT NULL)
"""


@pytest.mark.parametrize(
    "point",
    ["claim.written:kill:2", "claim.committed:kill:2", f"dispatch.guarded:kill:{N + 10}",
     f"dispatch.answered:kill:{N + 10}", "reports.written:kill:2"],
)  # fmt: skip
def test_worker_killed_between_slices_enters_each_account_once(
    environment: FaultEnvironment, point: str
) -> None:
    """The second slice is under way: the successor continues the plan that is stored."""
    environment.netting()
    touch(environment, "1.09990", "1.10000")
    environment.fleet.prices()  # it evaluates the stops that the engine guards
    victim = environment.fleet.worker("victim", faults=point)
    environment.quote()
    environment.operator.do(
        "publish", feed=N, execution_style="TWAP", duration_seconds=24, slice_count=SLICES
    )
    environment.wait(lambda: not victim.alive, f"no process reached {point}")
    scenario = Scenario(environment)
    environment.fleet.worker("successor")
    environment.quote()
    environment.wait(lambda: environment.ours.value(PLANS) == N, "not all are planned")
    environment.wait(lambda: environment.ours.value(LEFT) == 0, "not all slices have ended", 90)
    environment.settle()
    scenario.end()
    entered = environment.ours.rows(ENTERED)
    assert len(entered) == N
    for one in entered:  # what failed as proven unsent is left out, and nothing is made up for it
        assert one.filled + one.failed == one.planned, one
    sent = [row.client_order_id[:-1] for row in environment.books.rows(ACCEPTED)]
    assert len(sent) == len(set(sent)) <= N * SLICES
    assert environment.ours.value(WITHOUT_STOP) == 0
    assert environment.count.wrong() == {}
    environment.expect_protected()
