"""Processes that die while entries move between the accounts of a route: each is sent once."""

from pathlib import Path

import pytest

from tests.faults.environment import FaultEnvironment, Scenario

pytestmark = [pytest.mark.faults]
N = 50
# Account n of the feed's followers has the route n, n + 50: the latter does not follow the feed.
ROUTES = f"""
WITH followed AS (
  UPDATE connections_subscription s SET route_policy = 'HEALTH' FROM signals_feed f
  WHERE f.id = s.feed_id AND f.slug = 'bench-{N}' RETURNING s.id, s.feed_id, s.connection_id
), numbered AS (
  SELECT f.*, row_number() OVER (ORDER BY f.connection_id) AS n FROM followed f
), spare AS (
  SELECT c.id, row_number() OVER (ORDER BY c.id) AS n FROM connections_executionconnection c
  WHERE c.id NOT IN (SELECT connection_id FROM followed)
), accounts AS (
  SELECT f.id, f.feed_id, f.connection_id, 0 AS rank FROM numbered f
  UNION ALL SELECT f.id, f.feed_id, s.id, 1 FROM numbered f JOIN spare s USING (n)
)
INSERT INTO connections_subscriptionroute (subscription_id, feed_id, connection_id, rank, share,
  symbol_map)
SELECT id, feed_id, connection_id, rank, 1, '{{}}' FROM accounts
"""
UNREACHABLE = f"""
UPDATE connections_connectionhealth SET circuit_open_until = clock_timestamp() + interval '1 hour'
WHERE connection_id IN (SELECT s.connection_id FROM connections_subscription s
  JOIN signals_feed f ON f.id = s.feed_id WHERE f.slug = 'bench-{N}')
"""
MOVED = "SELECT count(*) FROM execution_order WHERE route_state = 'MOVED'"


def all_sent_once(environment: FaultEnvironment, states: dict[str, int]) -> None:
    environment.wait(lambda: environment.filled() == N, "not all were sent")
    environment.settle()
    assert environment.count.states() == {**states, "FILLED": N}
    assert environment.count.wrong(2 * N) == {}


@pytest.mark.parametrize(
    "point", ["claim.locked:kill:2", "claim.written:kill:1", "claim.committed:kill:1"]
)
def test_worker_killed_while_entries_move_sends_each_once(
    environment: FaultEnvironment, point: str
) -> None:
    """Killed after the move, before the intents of the new rows, and after those."""
    environment.ours.rows(ROUTES)
    environment.ours.rows(UNREACHABLE)
    environment.quote()
    victim = environment.fleet.worker("victim", faults=point)
    environment.operator.do(
        "publish", feed=N, order_type="LIMIT", open_price="1.101", seconds_valid=300
    )
    environment.wait(lambda: not victim.alive, f"no process reached {point}")
    assert environment.ours.value(MOVED) == N
    scenario = Scenario(environment)
    environment.fleet.worker("successor")
    if point.startswith("claim.committed"):  # whether these had left is unknown at first
        environment.settle()
        absent = environment.count.states().get("FAILED NEVER_ARRIVED", 0)
        assert environment.filled() + absent == N
        assert environment.count.wrong(2 * N) == {}
    else:
        all_sent_once(environment, {"CANCELLED ROUTED": N})
    scenario.end()


def test_worker_killed_after_failed_entries_moved_sends_each_once(
    environment: FaultEnvironment, tmp_path: Path
) -> None:
    """The first accounts proved not to have them; the next accounts follow."""
    environment.ours.rows(ROUTES)
    environment.quote()
    another = tmp_path / "another"  # machine: the others do not learn from it what had not left
    another.mkdir()
    first = environment.fleet.worker(
        "first", faults="claim.committed:kill:1", FILLCAST_VAR=str(another)
    )
    environment.operator.do(
        "publish", feed=N, order_type="LIMIT", open_price="1.101", seconds_valid=300
    )
    environment.wait(lambda: not first.alive, "no process reached claim.committed")
    second = environment.fleet.worker("second", faults="route.moved:kill")
    environment.wait(lambda: not second.alive, "no process reached route.moved", 90)
    assert environment.ours.value(MOVED) > 0
    scenario = Scenario(environment)
    environment.fleet.worker("third")
    all_sent_once(environment, {"FAILED NEVER_ARRIVED": N})
    scenario.end()
