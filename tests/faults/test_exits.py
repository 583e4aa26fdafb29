"""Workers that die or stop during exits: of a CLOSE signal, a user, the monitor, or all at once."""

import pytest

from tests.faults.conftest import OPENED
from tests.faults.environment import TAKE_OVER_SECONDS, FaultEnvironment, Scenario
from tests.faults.process_fleet import OperatorDiedError

pytestmark = [pytest.mark.faults]
POINTS = {
    "claim.committed": 2,
    "dispatch.begin": 2,
    "dispatch.guarded": 70,
    "dispatch.answered": 20,
    "reports.written": 1,
    "reports.committed": 1,
}
STOPS = ["claim.committed", "dispatch.begin", "dispatch.answered", "reports.written"]
FIRST_SIGNAL = "SELECT min(id) FROM signals_signal"


def all_closed(environment: FaultEnvironment) -> None:
    """Check that each position is flat on both sides and was closed exactly once."""
    assert environment.count.open_positions() == 0
    wrong_side = "SELECT count(*) FROM paper_position WHERE quantity <> 0"
    assert environment.books.value(wrong_side) == 0
    reserved = "SELECT count(*) FROM positions_executionposition WHERE reserved <> 0"
    assert environment.ours.value(reserved) == 0
    assert environment.count.wrong(OPENED) == {}


def settle_closed(environment: FaultEnvironment) -> None:
    environment.wait(
        lambda: environment.count.open_positions() == 0 and environment.count.unsettled() == 0,
        "not flat",
        60,
    )


@pytest.mark.parametrize(("point", "nth"), POINTS.items())
def test_exits_worker_killed_at_failpoint_closes_each_position_once(
    opened: FaultEnvironment, point: str, nth: int
) -> None:
    victim = opened.fleet.worker("victim", "exits", faults=f"{point}:kill:{nth}")
    opened.broker(reply_delay_ms=100)
    opened.quote()
    opened.operator.do("publish", action="CLOSE", refers_to=opened.ours.value(FIRST_SIGNAL))
    opened.wait(lambda: not victim.alive, f"no process reached {point}")
    scenario = Scenario(opened)
    opened.fleet.worker("successor", "exits")
    took = opened.wait(lambda: opened.taken_over(victim), "its orders were not taken over")
    assert took <= TAKE_OVER_SECONDS
    settle_closed(opened)
    scenario.end()
    all_closed(opened)


@pytest.mark.parametrize("point", ["exits.written", "time_exits.committed"])
def test_worker_killed_at_time_exits_closes_each_position_once(
    opened: FaultEnvironment, point: str
) -> None:
    """The times have come while no process ran."""
    opened.quote()
    opened.ours.rows("UPDATE positions_executionposition SET close_at = now() - interval '1 hour'")
    victim = opened.fleet.worker("victim", "exits", faults=f"{point}:kill", wait=False)
    opened.wait(lambda: not victim.alive, f"no process reached {point}")
    scenario = Scenario(opened)
    opened.fleet.worker("successor", "exits")
    settle_closed(opened)
    scenario.end()
    all_closed(opened)


@pytest.mark.parametrize("point", ["exits.written", "condition_exits.committed"])
def test_worker_killed_at_condition_exits_closes_each_position_once(
    opened: FaultEnvironment, point: str
) -> None:
    """What closes the positions came to hold while no process ran: their signal has filled."""
    opened.quote()
    opened.ours.rows(
        "UPDATE positions_executionposition"
        " SET close_when_signal_id = signal_id, close_when_state = 'FILLED'"
    )
    victim = opened.fleet.worker("victim", "exits", faults=f"{point}:kill", wait=False)
    opened.wait(lambda: not victim.alive, f"no process reached {point}")
    scenario = Scenario(opened)
    opened.fleet.worker("successor", "exits")
    settle_closed(opened)
    scenario.end()
    all_closed(opened)


@pytest.mark.parametrize("point", STOPS)
def test_exits_worker_stopped_at_failpoint_closes_nothing_twice(
    opened: FaultEnvironment, point: str
) -> None:
    victim = opened.fleet.worker("victim", "exits", faults=f"{point}:stop:1", wait=False)
    other = opened.fleet.worker("other", "exits", wait=False)
    opened.fleet.wait_for_lease(victim, other)
    opened.broker(reply_delay_ms=100)
    opened.quote()
    other.stop()
    opened.operator.do("publish", action="CLOSE", refers_to=opened.ours.value(FIRST_SIGNAL))
    opened.wait(lambda: victim.stopped, f"no process reached {point}")
    scenario = Scenario(opened)
    other.go_on()
    settle_closed(opened)
    scenario.end()
    opened.wait(lambda: not opened.fleet.has_lease(victim.pid), "it is believed alive")
    accepted = opened.count.accepted()
    victim.go_on()
    other.end()
    opened.fleet.wait_for_lease(victim)
    opened.quote()
    more = opened.operator.do("publish", feed=50)  # and one that the victim itself opens and closes
    opened.fleet.worker("entries", "execution")
    opened.wait(lambda: opened.count.open_positions() == 50, "not opened")
    opened.operator.do("publish", action="CLOSE", refers_to=more[0])
    settle_closed(opened)
    assert opened.count.accepted() == accepted + 100
    assert opened.count.open_positions() == 0
    assert opened.count.wrong(OPENED + 50) == {}


@pytest.mark.parametrize("by", ["signal", "click"])
def test_death_before_close_is_committed_closes_nothing(opened: FaultEnvironment, by: str) -> None:
    dying = opened.fleet.operator(faults="exits.written:kill")
    if by == "signal":
        dying.begin("publish", action="CLOSE", refers_to=opened.ours.value(FIRST_SIGNAL))
    else:
        dying.begin("close", positions=opened.positions())
    with pytest.raises(OperatorDiedError):
        dying.answer()
    exits = "SELECT count(*) FROM execution_order WHERE position_id IS NOT NULL"
    assert opened.ours.value(exits) == 0
    opened.fleet.worker("worker", "exits")
    opened.quote()
    assert len(opened.operator.do("close", positions=opened.positions())) == OPENED
    settle_closed(opened)
    all_closed(opened)


@pytest.mark.parametrize("point", ["exits.written", "levels.committed", "claim.committed"])
def test_level_monitor_killed_at_failpoint_closes_each_position_once(
    watched: FaultEnvironment, point: str
) -> None:
    victim = watched.fleet.worker("victim", "exits", faults=f"{point}:kill")
    watched.quote(bid="1.09400", ask="1.09410")
    watched.operator.do("send", name="execution.watch_positions", arguments=[], queue="exits")
    watched.wait(lambda: not victim.alive, f"no process reached {point}")
    scenario = Scenario(watched)
    watched.fleet.worker("successor", "exits")
    watched.operator.do("send", name="execution.watch_positions", arguments=[], queue="exits")
    settle_closed(watched)
    scenario.end()
    all_closed(watched)


@pytest.mark.parametrize("mode", ["watched", "netted"])
def test_monitor_signal_and_click_race_to_close_while_worker_dies(
    request: pytest.FixtureRequest, mode: str
) -> None:
    environment: FaultEnvironment = request.getfixturevalue(mode)
    victim = environment.fleet.worker("victim", "exits", faults="dispatch.answered:kill:60")
    environment.broker(reply_delay_ms=100)
    if mode == "watched":  # in the other mode the broker guards the levels
        environment.quote(bid="1.09400", ask="1.09410")
    else:
        environment.quote()
    clicking = environment.fleet.operator()
    environment.operator.do("send", name="execution.watch_positions", arguments=[], queue="exits")
    clicking.begin("close", positions=environment.positions(), fraction="0.5")
    environment.operator.do(
        "publish", action="CLOSE", refers_to=environment.ours.value(FIRST_SIGNAL)
    )
    clicking.answer()
    environment.wait(lambda: not victim.alive, "the worker did not die")
    scenario = Scenario(environment)
    environment.fleet.worker("successor", "exits")
    environment.operator.do("send", name="execution.watch_positions", arguments=[], queue="exits")
    settle_closed(environment)
    scenario.end()
    all_closed(environment)
