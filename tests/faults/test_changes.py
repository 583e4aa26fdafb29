"""Workers that die or stop during level changes, cancels and broker events."""

from decimal import Decimal

import pytest

from ops.stack import stack
from tests.faults.conftest import OPENED
from tests.faults.environment import FaultEnvironment, Scenario
from tests.faults.process_fleet import EVERYTHING
from tests.faults.test_triggers import touch

pytestmark = [pytest.mark.faults]
FIRST_SIGNAL = "SELECT min(id) FROM signals_signal"
OURS_AT = "SELECT count(*) FROM positions_executionposition WHERE sl = %s AND broker_sl = %s"
THEIRS_AT = "SELECT count(*) FROM paper_position WHERE quantity > 0 AND stop_loss = %s"


def move(environment: FaultEnvironment, stop: str) -> None:
    environment.operator.do(
        "publish", action="MODIFY", refers_to=environment.ours.value(FIRST_SIGNAL), sl=stop
    )


def everywhere_at(environment: FaultEnvironment, stop: str) -> bool:
    """Return whether each position has this stop in both databases."""
    ours, theirs = (
        environment.ours.value(OURS_AT, stop, stop),
        environment.books.value(THEIRS_AT, stop),
    )
    return bool(ours == theirs == OPENED)


@pytest.mark.parametrize("point", ["pending_actions.committed", "pending_actions.answered"])
def test_levels_are_moved_after_worker_died_moving_them(
    opened: FaultEnvironment, point: str
) -> None:
    victim = opened.fleet.worker("victim", faults=f"{point}:kill")
    opened.broker(reply_delay_ms=100)
    opened.quote()
    move(opened, "1.096")
    opened.wait(lambda: not victim.alive, f"no process reached {point}")
    scenario = Scenario(opened)
    opened.fleet.worker("successor")
    opened.wait(lambda: everywhere_at(opened, "1.096"), "levels differ", 60)
    scenario.end()
    assert opened.count.wrong(OPENED) == {}
    opened.expect_protected()


TRAILING = """
INSERT INTO positions_stoprule (position_id, trailing_origin, trailing_distance, trailing_unit,
  known_stop, due_at)
SELECT id, 'SIGNAL', 0.001, 'PRICE', sl, clock_timestamp() FROM positions_executionposition
"""


MAY_NOT_MOVE_YET = """
SELECT count(*) FROM positions_stoprule
WHERE moved_at + make_interval(secs => min_seconds) > clock_timestamp()
"""
JUDGED_AT = "SELECT count(*) FROM prices_latestquote WHERE bid = %s"


def test_trailed_stops_reach_broker_after_worker_died_moving_them(
    opened: FaultEnvironment,
) -> None:
    victim = opened.fleet.worker("victim", "exits", faults="stop_rules.committed:kill")
    opened.quote(bid="1.09990")
    opened.ours.rows(TRAILING)
    opened.wait(lambda: not victim.alive, "no process reached stop_rules.committed")
    scenario = Scenario(opened)
    opened.fleet.worker("successor", "execution,exits")
    opened.wait(lambda: everywhere_at(opened, "1.0989"), "levels differ", 60)
    scenario.end()
    assert opened.count.wrong(OPENED) == {}
    opened.expect_protected()


def test_stops_that_prices_have_trailed_reach_broker_after_prices_process_died(
    opened: FaultEnvironment,
) -> None:
    """It dies after its commit. The next one trails on, and back moves nothing."""
    opened.fleet.worker("worker", "exits")
    opened.quote(bid="1.09900", ask="1.09910")
    touch(opened, "1.09900", "1.09910")
    opened.ours.rows(TRAILING)
    opened.wait(lambda: everywhere_at(opened, "1.098"), "levels differ", 60)
    # Else the move waits, and the worker makes it.
    opened.wait(lambda: opened.ours.value(MAY_NOT_MOVE_YET) == 0, "the rules still wait")
    touch(opened, "1.09990", "1.10000")
    victim = opened.fleet.start(stack.command_process("prices"), faults="stop_rules.committed:kill")
    opened.wait(lambda: not victim.alive, "no process reached stop_rules.committed")
    scenario = Scenario(opened)
    opened.wait(lambda: everywhere_at(opened, "1.0989"), "levels differ", 60)
    touch(opened, "1.10050", "1.10060")
    successor = opened.fleet.prices()
    opened.wait(lambda: everywhere_at(opened, "1.0995"), "levels differ", 60)
    successor.kill()
    touch(opened, "1.10000", "1.10010")
    opened.fleet.prices()
    opened.wait(lambda: opened.ours.value(JUDGED_AT, "1.10000") > 0, "the price did not come")
    scenario.end()
    assert everywhere_at(opened, "1.0995")
    assert opened.count.wrong(OPENED) == {}
    opened.expect_protected()


@pytest.mark.parametrize("point", ["pending_actions.committed", "pending_actions.answered"])
def test_continued_worker_does_not_restore_old_level(opened: FaultEnvironment, point: str) -> None:
    victim = opened.fleet.worker("victim", faults=f"{point}:stop", wait=False)
    other = opened.fleet.worker("other", wait=False)
    opened.fleet.wait_for_lease(victim, other)
    other.stop()
    opened.quote()
    move(opened, "1.096")
    opened.wait(lambda: victim.stopped, f"no process reached {point}")
    scenario = Scenario(opened)
    other.go_on()
    opened.wait(lambda: everywhere_at(opened, "1.096"), "levels differ", 60)
    move(opened, "1.097")
    opened.wait(lambda: everywhere_at(opened, "1.097"), "levels differ", 60)
    opened.wait(lambda: not opened.fleet.has_lease(victim.pid), "it is believed alive")
    victim.go_on()
    opened.fleet.wait_for_lease(victim)
    other.end()  # its late reports and requests are corrected automatically
    move(opened, "1.098")
    opened.wait(lambda: everywhere_at(opened, "1.098"), "levels differ", 60)
    scenario.end()
    assert opened.count.wrong(OPENED) == {}


@pytest.mark.parametrize("point", ["pending_actions.committed", "pending_actions.answered"])
@pytest.mark.parametrize("action", ["kill", "stop"])
def test_working_orders_are_cancelled_after_canceller_died(
    environment: FaultEnvironment, point: str, action: str
) -> None:
    opener = environment.fleet.worker("opener")
    environment.quote()
    environment.operator.do("publish", feed=50, order_type="LIMIT", open_price="1.05", sl="1.04")
    environment.wait(lambda: environment.count.states().get("SUBMITTED") == 50, "they do not rest")
    opener.end()
    victim = environment.fleet.worker("victim", faults=f"{point}:{action}")
    ids = [row.id for row in environment.ours.rows("SELECT id FROM execution_order")]
    environment.operator.do("cancel", orders=ids)
    environment.wait(lambda: not victim.alive or victim.stopped, f"no process reached {point}")
    scenario = Scenario(environment)
    environment.fleet.worker("successor")
    environment.settle()
    scenario.end()
    if action == "stop":
        victim.go_on()
        environment.fleet.wait_for_lease(victim)
        victim.end()
    assert environment.count.states() == {"CANCELLED OWNER_CANCELLED": 50}
    working = "SELECT count(*) FROM paper_order WHERE status <> 'CANCELLED'"
    assert environment.books.value(working) == 0
    assert environment.count.wrong(50) == {}


@pytest.mark.parametrize(
    "point", ["ends.committed", "pending_actions.committed", "pending_actions.answered"]
)
def test_orders_end_at_valid_until_after_worker_died_ending_them(
    environment: FaultEnvironment, point: str
) -> None:
    """They are as at a broker without GTD: GTD, and the broker was given no expiry."""
    opener = environment.fleet.worker("opener")
    environment.quote()
    environment.operator.do(
        "publish", feed=50, order_type="LIMIT", open_price="1.05", sl="1.04", seconds_valid=3600
    )
    environment.wait(lambda: environment.count.states().get("SUBMITTED") == 50, "they do not rest")
    opener.end()
    environment.ours.rows("UPDATE execution_order SET time_in_force = 'GTD'")
    victim = environment.fleet.worker("victim", EVERYTHING, faults=f"{point}:kill")
    environment.ours.rows(
        "UPDATE execution_order SET own_valid_until = clock_timestamp() - interval '1 second'"
    )
    environment.wait(lambda: not victim.alive, f"no process reached {point}")
    scenario = Scenario(environment)
    environment.fleet.worker("successor", EVERYTHING)
    environment.settle()
    scenario.end()
    assert environment.count.states() == {"CANCELLED VALID_UNTIL_ENDED": 50}
    working = "SELECT count(*) FROM paper_order WHERE status <> 'CANCELLED'"
    assert environment.books.value(working) == 0
    assert environment.count.accepted() == 50
    assert environment.count.wrong(50) == {}


THEIR_TERMS = """
SELECT count(*) FROM paper_order
WHERE status = 'WORKING' AND quantity = 3000 AND limit_price = 1.06
"""
OUR_TERMS = """
SELECT count(*) FROM execution_order o JOIN execution_entrychange h ON h.order_id = o.id
WHERE o.status = 'SUBMITTED' AND o.quantity = 3000 AND o.limit_price = 1.06 AND h.state = 'DONE'
"""


NEW_PRICE = """
SELECT count(*) FROM execution_order o JOIN execution_entrychange h ON h.order_id = o.id
WHERE o.status = 'SUBMITTED' AND o.limit_price = 1.06 AND h.state = 'DONE'
"""


@pytest.mark.parametrize("point", ["changes.committed", "changes.answered"])
@pytest.mark.parametrize("action", ["kill", "stop"])
def test_working_orders_are_changed_once_after_worker_died(
    environment: FaultEnvironment, point: str, action: str
) -> None:
    opener = environment.fleet.worker("opener")
    environment.quote()
    environment.operator.do("publish", feed=50, order_type="LIMIT", open_price="1.05", sl="1.04")
    environment.wait(lambda: environment.count.states().get("SUBMITTED") == 50, "they do not rest")
    opener.end()
    victim = environment.fleet.worker("victim", faults=f"{point}:{action}")
    ids = [row.id for row in environment.ours.rows("SELECT id FROM execution_order")]
    environment.operator.do("change", orders=ids, quantity="3000", limit_price="1.06")
    environment.wait(lambda: not victim.alive or victim.stopped, f"no process reached {point}")
    scenario = Scenario(environment)
    environment.fleet.worker("successor")
    environment.wait(lambda: environment.ours.value(OUR_TERMS) == 50, "not all are changed", 60)
    if action == "stop":
        victim.go_on()
        environment.fleet.wait_for_lease(victim)
        victim.end()
    scenario.end()
    assert environment.books.value(THEIR_TERMS) == 50
    assert environment.books.value("SELECT count(*) FROM paper_order") == 50
    assert environment.ours.value(OUR_TERMS) == 50
    assert environment.count.wrong(50) == {}
    fill_at(environment, "1.06")


def fill_at(environment: FaultEnvironment, price: str) -> None:
    """Let the market reach the changed orders: each is filled once, and has its stop."""
    environment.quote(bid=str(Decimal(price) - Decimal("0.0002")), ask=price)
    environment.wait(lambda: environment.filled() == 50, "not all were filled")
    environment.settle()
    assert environment.count.open_positions() == 50
    assert environment.count.wrong(50) == {}
    environment.expect_protected()


WAITING = "SELECT count(*) FROM execution_entrychange WHERE state = 'WAITING'"


@pytest.mark.parametrize("action", ["kill", "stop"])
def test_signals_price_is_changed_once_after_worker_died_requesting_it(
    environment: FaultEnvironment, action: str
) -> None:
    """A MODIFY has left the changes waiting; the worker requests them one by one."""
    opener = environment.fleet.worker("opener")
    environment.quote()
    [signal] = environment.operator.do(
        "publish", feed=50, order_type="LIMIT", open_price="1.05", sl="1.04"
    )
    environment.wait(lambda: environment.count.states().get("SUBMITTED") == 50, "they do not rest")
    opener.end()
    environment.operator.do(
        "publish", action="MODIFY", refers_to=signal, open_price="1.06", sl="1.04"
    )
    assert environment.ours.value(WAITING) == 50
    victim = environment.fleet.worker("victim", faults=f"changes.begun:{action}:10")
    environment.wait(lambda: not victim.alive or victim.stopped, "no process reached changes.begun")
    scenario = Scenario(environment)
    environment.fleet.worker("successor")
    environment.wait(lambda: environment.ours.value(NEW_PRICE) == 50, "not all are changed", 60)
    if action == "stop":
        victim.go_on()
        environment.fleet.wait_for_lease(victim)
        victim.end()
    scenario.end()
    assert environment.ours.value(WAITING) == 0
    assert environment.books.value("SELECT count(*) FROM paper_order") == 50
    assert (
        environment.books.value("SELECT count(*) FROM paper_order WHERE limit_price = 1.06") == 50
    )
    assert environment.count.wrong(50) == {}
    fill_at(environment, "1.06")


@pytest.mark.parametrize("point", ["events.read", "events.applied"])
@pytest.mark.parametrize("action", ["kill", "stop"])
def test_broker_stops_are_applied_after_event_reader_died(
    opened: FaultEnvironment, point: str, action: str
) -> None:
    opened.quote()
    victim = opened.fleet.worker("victim", faults=f"{point}:{action}")
    opened.quote(bid="1.09400", ask="1.09410")
    opened.wait(lambda: not victim.alive or victim.stopped, f"no process reached {point}")
    scenario = Scenario(opened)
    opened.fleet.worker("successor")
    opened.wait(
        lambda: opened.count.open_positions() == 0 and opened.count.unacknowledged_events() == 0,
        "not received",
        60,
    )
    scenario.end()
    if action == "stop":
        victim.go_on()
        opened.fleet.wait_for_lease(victim)
        victim.end()
    assert opened.count.wrong(OPENED) == {}


def test_events_replayed_after_each_reconnect_count_once(
    opened: FaultEnvironment,
) -> None:
    opened.quote()
    opened.fleet.worker()
    opened.venue.fault("replay_on_connect", 100)
    opened.quote(bid="1.09400", ask="1.09410")
    opened.wait(lambda: opened.count.open_positions() == 0, "not received", 60)
    for _ in range(3):
        opened.venue.fault("reset")
        opened.wait(lambda: opened.count.unacknowledged_events() > 0, "no event was sent again")
        opened.wait(lambda: opened.count.unacknowledged_events() == 0, "not received again")
    opened.venue.fault("replay_on_connect", 0)
    assert opened.count.wrong(OPENED) == {}
