"""Processes that die while orders are held until a trigger: each is sent once, none is lost."""

import json

import pytest

from ops.stack import stack
from tests.faults.environment import FaultEnvironment, Scenario

pytestmark = [pytest.mark.faults]
N = 200
GUARDIANS = ("broker", "engine")  # who keeps the stops
ARMED = "SELECT count(*) FROM execution_ordertrigger WHERE is_armed"
OTHER_LEGS = """SELECT count(*) FROM execution_order
WHERE status = 'CANCELLED' AND reason = 'OCO_OTHER_LEG_TRIGGERED'"""
HELD = "SELECT count(*) FROM execution_order WHERE reason = 'AWAITING_TRIGGER'"


def publish(environment: FaultEnvironment) -> None:
    """Publish buys that wait until the ask is at 1.0950."""
    environment.quote()
    environment.operator.do(
        "publish", feed=N, order_type="IF_TOUCHED", stop_price="1.0950", sl="1.08"
    )


def touch(environment: FaultEnvironment, bid: str = "1.09400", ask: str = "1.09410") -> None:
    """From now on the prices process reports a price; the default one reaches the triggers."""
    environment.ours.rows(
        "UPDATE connections_dataconnection SET settings = jsonb_build_object('quotes', %s::jsonb)",
        json.dumps({"EUR/USD": [bid, ask]}),
    )


def all_sent_once(environment: FaultEnvironment, entries: int = N) -> None:
    environment.wait(lambda: environment.filled() == N, "not all were sent")
    environment.settle()
    assert environment.ours.value(ARMED) == 0
    assert environment.count.wrong(entries) == {}
    environment.expect_protected()


@pytest.mark.parametrize("point", ["triggers.written", "triggers.committed"])
def test_trigger_monitor_killed_at_failpoint_sends_each_order_once(
    environment: FaultEnvironment, point: str
) -> None:
    environment.fleet.worker("worker")
    publish(environment)
    environment.wait(lambda: environment.ours.value(HELD) == N, "not all are held")
    touch(environment)
    victim = environment.fleet.start(stack.command_process("prices"), faults=f"{point}:kill")
    environment.wait(lambda: not victim.alive, f"no process reached {point}")
    scenario = Scenario(environment)
    environment.fleet.prices()
    all_sent_once(environment)
    scenario.end()


PEAKS = "SELECT count(*) FROM execution_pricepeak WHERE side = 'BUY' AND price = 1.0941"


@pytest.mark.parametrize("point", ["triggers.written", "triggers.committed"])
@pytest.mark.parametrize("guardian", GUARDIANS)
def test_trailing_entries_follow_and_fire_once_after_trigger_monitor_died(
    environment: FaultEnvironment, point: str, guardian: str
) -> None:
    """One process has followed the price and dies, the next dies while the orders fire."""
    if guardian == "engine":
        environment.engine_guards()
    environment.fleet.worker("worker")
    environment.quote()
    environment.operator.do(
        "publish", feed=N, order_type="TRAILING_STOP", trail_distance="0.004", sl="1.08"
    )
    environment.wait(lambda: environment.ours.value(HELD) == N, "not all are held")
    touch(environment)  # the trailing stops follow to 1.0941, and would fire at 1.0981
    first = environment.fleet.prices()
    environment.wait(lambda: environment.ours.value(PEAKS) == 1, "nothing followed the price")
    first.kill()
    touch(environment, "1.09805", "1.09815")  # from the price before, 1.1000, nothing would fire
    victim = environment.fleet.start(stack.command_process("prices"), faults=f"{point}:kill")
    environment.wait(lambda: not victim.alive, f"no process reached {point}")
    scenario = Scenario(environment)
    environment.fleet.prices()
    all_sent_once(environment)
    scenario.end()


def test_worker_killed_while_arming_triggers_holds_each_order_once(
    environment: FaultEnvironment,
) -> None:
    victim = environment.fleet.worker("victim", faults="triggers.armed:kill:2")
    publish(environment)
    environment.wait(lambda: not victim.alive, "no process reached triggers.armed")
    scenario = Scenario(environment)
    environment.fleet.worker("successor")
    environment.wait(lambda: environment.ours.value(ARMED) == N, "not all are held")
    assert environment.count.accepted() == 0
    touch(environment)
    environment.fleet.prices()
    all_sent_once(environment)
    scenario.end()


@pytest.mark.parametrize("point", ["triggers.written", "triggers.committed"])
@pytest.mark.parametrize("guardian", GUARDIANS)
def test_trigger_monitor_killed_while_it_fires_pairs_sends_one_leg_of_each(
    environment: FaultEnvironment, point: str, guardian: str
) -> None:
    """The price reaches both legs of every pair at once."""
    if guardian == "engine":
        environment.engine_guards()
    environment.fleet.worker("worker")
    environment.quote()
    environment.operator.do(
        "publish_pair",
        feed=N,
        first={
            "direction": "BUY", "order_type": "IF_TOUCHED", "stop_price": "1.0950", "sl": "1.08",
        },
        second={"direction": "SELL", "order_type": "STOP", "stop_price": "1.0945", "sl": "1.12"},
    )  # fmt: skip
    environment.wait(lambda: environment.ours.value(HELD) == 2 * N, "not all are held")
    touch(environment)
    victim = environment.fleet.start(stack.command_process("prices"), faults=f"{point}:kill")
    environment.wait(lambda: not victim.alive, f"no process reached {point}")
    scenario = Scenario(environment)
    environment.fleet.prices()
    all_sent_once(environment, entries=2 * N)
    assert environment.count.accepted() == N
    assert environment.ours.value(OTHER_LEGS) == N
    scenario.end()
