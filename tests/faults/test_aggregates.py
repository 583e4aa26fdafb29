"""Processes that die while several entries are one order: it is sent once, and allotted exactly."""

from itertools import cycle

import pytest

from tests.faults.environment import FaultEnvironment, Scenario

pytestmark = [pytest.mark.faults]
N, SIGNALS = 50, 3
TOTAL = N * SIGNALS
WINDOW = "UPDATE connections_executionconnection SET aggregation_ms = 4000"
WAITING = "SELECT count(*) FROM execution_order WHERE reason = 'AGGREGATION_AWAITED'"
# Of each order at the broker: how many of ours it is, their sizes and what they have got.
ALLOTTED = """
SELECT f.client_order_id, count(*) AS members, sum(m.quantity) AS quantity,
  sum(m.filled_quantity) AS filled, count(DISTINCT m.status) AS states,
  (SELECT sum(x.quantity) FROM execution_fill x JOIN execution_order y ON y.id = x.order_id
   WHERE y.aggregate_id = f.id) AS fills
FROM execution_order f JOIN execution_order m ON m.aggregate_id = f.id GROUP BY f.id
"""
THERE = """
SELECT client_order_id, quantity, filled_quantity FROM paper_order
WHERE accepted_at IS NOT NULL AND entry IS NULL
"""
# Those that are no part of an aggregate; and of how many the log states why.
APART = """
SELECT count(*) AS orders, count(l.order_id) AS unsent FROM execution_order o
LEFT JOIN (SELECT DISTINCT order_id FROM execution_executionlog
           WHERE code = 'WORKER_LOST_UNSENT') l ON l.order_id = o.id
WHERE o.aggregate_id IS NULL
"""
POINTS = {
    "claim.written": 4,  # three bundles begin to wait before
    "claim.committed": 1,
    "dispatch.begin": 1,
    "dispatch.guarded": 10,
    "dispatch.answered": 10,
    "reports.gathered": 1,
    "reports.written": 1,
    "reports.committed": 1,
}
BEFORE_ANY_SEND = ("claim.written", "claim.committed", "dispatch.begin")
SENT_BEFORE = 24  # when the first process dies
RECOVERY_POINTS = ["orphans.committed", "lookup.answered", "absence.committed", "reports.written"]


def begin(environment: FaultEnvironment) -> None:
    environment.netting()
    environment.ours.rows(WINDOW)
    environment.broker(reply_delay_ms=100)
    environment.quote()


def publish(environment: FaultEnvironment) -> list[int]:
    ids: list[int] = environment.operator.do(
        "publish", feed=N, count=SIGNALS, together=True, origin="API"
    )
    return ids


def all_are_exact(environment: FaultEnvironment) -> int:
    """Check every aggregate against the broker's journal; return how many were accepted there."""
    there = {row.client_order_id: row for row in environment.books.rows(THERE)}
    aggregates = environment.ours.rows(ALLOTTED)
    for one in aggregates:
        assert one.members == SIGNALS
        assert one.states == 1
        journal = there.get(one.client_order_id)
        assert one.filled == (journal.filled_quantity if journal else 0)
        assert (one.fills or 0) == one.filled
        assert journal is None or journal.quantity == one.quantity
    return sum(one.client_order_id in there for one in aggregates)


def each_ended_once(environment: FaultEnvironment, scenario: Scenario, *, left: int) -> None:
    """Check that each order at the broker filled, and that all others provably never arrived.

    left: the most aggregates that may have left when the process died. The members of all others
    are sent apart: that they had not left is proven.
    """
    states = environment.count.states()
    absent = states.pop("FAILED NEVER_ARRIVED", 0)
    assert states.pop("FILLED", 0) == TOTAL - absent
    assert states == {}
    assert absent <= left * SIGNALS
    assert environment.count.wrong(TOTAL) == {}
    (apart,) = environment.ours.rows(APART)
    assert scenario.in_flight - left * SIGNALS <= apart.orders <= scenario.in_flight
    assert apart.unsent == apart.orders
    joined = (TOTAL - absent - apart.orders) // SIGNALS
    assert all_are_exact(environment) == joined
    assert environment.count.accepted() == joined + apart.orders


@pytest.mark.parametrize(("point", "nth"), list(POINTS.items()), ids=list(POINTS))
def test_worker_killed_at_failpoint_sends_each_aggregate_once(
    environment: FaultEnvironment, point: str, nth: int
) -> None:
    """Before the send, after it, and while what was executed is allotted."""
    begin(environment)
    victim = environment.fleet.worker("victim", faults=f"{point}:kill:{nth}")
    publish(environment)
    environment.wait(lambda: not victim.alive, f"no process reached {point}")
    scenario = Scenario(environment)
    environment.fleet.worker("successor")
    environment.settle()
    scenario.end()
    left = 0 if point in BEFORE_ANY_SEND else nth if point == "dispatch.guarded" else N
    each_ended_once(environment, scenario, left=left)


@pytest.mark.parametrize("point", RECOVERY_POINTS)
def test_successor_killed_while_it_looks_aggregates_up_allots_each_once(
    environment: FaultEnvironment, point: str
) -> None:
    """The first process dies between sends and answers, the second while it finds out."""
    begin(environment)
    first = environment.fleet.worker("first", faults=f"dispatch.guarded:kill:{SENT_BEFORE + 1}")
    publish(environment)
    environment.wait(lambda: not first.alive, "no process reached dispatch.guarded")
    scenario = Scenario(environment)
    second = environment.fleet.worker("second", faults=f"{point}:kill", wait=False)
    environment.wait(lambda: not second.alive, f"no process reached {point}")
    environment.fleet.worker("third")
    environment.settle()
    scenario.end()
    each_ended_once(environment, scenario, left=SENT_BEFORE + 1)


def test_entries_that_wait_are_sent_as_one_although_the_worker_died(
    environment: FaultEnvironment,
) -> None:
    """Nothing of the wait is held in a process only."""
    begin(environment)
    victim = environment.fleet.worker("victim")
    publish(environment)
    environment.wait(lambda: environment.ours.value(WAITING) == TOTAL, "not all wait")
    victim.kill()
    scenario = Scenario(environment)
    assert environment.count.accepted() == 0
    environment.fleet.worker("successor")
    environment.wait(lambda: environment.filled() == TOTAL, "not all were sent")
    environment.settle()
    scenario.end()
    assert environment.count.wrong(TOTAL) == {}
    assert all_are_exact(environment) == environment.count.accepted() == N


@pytest.mark.parametrize("point", ["events.read", "events.applied", "reports.written"])
def test_worker_killed_between_partial_fills_allots_each_once(
    environment: FaultEnvironment, point: str
) -> None:
    """What it did not acknowledge is delivered to its successor again."""
    begin(environment)
    environment.broker(partial_fill_max=30_000)  # an entry has 26,000 or more
    opener = environment.fleet.worker("opener")
    publish(environment)
    environment.wait(
        lambda: environment.count.accepted() == N and not environment.count.in_flight(),
        "not all were answered",
    )
    opener.end()
    victim = environment.fleet.worker("victim", faults=f"{point}:kill")
    environment.quote("1.09991", "1.10001")
    environment.wait(lambda: not victim.alive, f"no process reached {point}")
    scenario = Scenario(environment)
    environment.fleet.worker("successor")
    prices = cycle(("1.10002", "1.10003"))

    def are_filled_at_the_next_price() -> bool:
        environment.quote("1.09993", next(prices))
        return environment.filled() == TOTAL

    environment.wait(are_filled_at_the_next_price, "not all were filled")
    environment.settle()
    scenario.end()
    assert environment.count.wrong(TOTAL) == {}
    assert all_are_exact(environment) == environment.count.accepted() == N


CLOSING_MINIMUM, EXECUTED_AT_ONCE = 12_000, 10_000
EXECUTED = "SELECT sum(filled_quantity) FROM execution_order"
THERE_ALL = "SELECT sum(filled_quantity) FROM paper_order"
# Executed, of entries that were sent with others, and of which nothing can be closed alone.
TOO_SMALL = f"""
SELECT id FROM execution_order WHERE aggregate_id IS NOT NULL
  AND filled_quantity > 0 AND filled_quantity < {CLOSING_MINIMUM}
"""
MOVED = "SELECT count(*) FROM execution_executionlog WHERE code = 'SHARE_MOVED'"


@pytest.mark.parametrize("point", ["reports.written", "reports.committed"])
def test_worker_killed_while_shares_move_at_the_end_moves_each_once(
    environment: FaultEnvironment, point: str
) -> None:
    """Of the 30,000 that each order gets, the first entry has all of its own and another the rest:
    too little to be closed alone. The order is cancelled; then the first gives what is missing."""
    begin(environment)
    environment.ours.rows(f"UPDATE connections_instrument SET close_min = {CLOSING_MINIMUM}")
    environment.broker(partial_fill_max=EXECUTED_AT_ONCE)
    opener = environment.fleet.worker("opener")
    publish(environment)
    environment.wait(lambda: all_is_known(environment), "not all were sent")
    for ask in ("1.10001", "1.10002"):
        environment.quote("1.09990", ask)
        environment.wait(lambda: all_is_known(environment), f"not all executions at {ask} came")
    opener.end()
    lacking = environment.ours.rows(TOO_SMALL)
    assert lacking
    victim = environment.fleet.worker("victim", faults=f"{point}:kill")
    environment.operator.do("cancel", orders=[row.id for row in lacking])
    environment.wait(lambda: not victim.alive, f"no process reached {point}")
    scenario = Scenario(environment)
    environment.fleet.worker("successor")
    environment.wait(lambda: not environment.ours.rows(TOO_SMALL), "not all have enough")
    environment.settle()
    scenario.end()
    assert environment.count.wrong(TOTAL) == {}
    assert environment.ours.value(MOVED) == 2 * len(lacking)  # of who gives and of who gets
    there = {row.client_order_id: row for row in environment.books.rows(THERE)}
    for one in environment.ours.rows(ALLOTTED):
        assert one.filled == one.fills == there[one.client_order_id].filled_quantity


def all_is_known(environment: FaultEnvironment) -> bool:
    """Whether all orders are at the broker, and all that it executed is in our books."""
    waiting = environment.count.states().get("PENDING", 0) + environment.count.in_flight()
    return waiting == 0 and environment.ours.value(EXECUTED) == environment.books.value(THERE_ALL)


@pytest.mark.parametrize("point", ["claim.committed", "dispatch.answered", "reports.written"])
def test_worker_killed_while_one_of_them_closes_leaves_the_others_open(
    environment: FaultEnvironment, point: str
) -> None:
    begin(environment)
    entries = environment.fleet.worker("entries")
    first, *others = publish(environment)
    environment.wait(lambda: environment.filled() == TOTAL, "not all were filled")
    environment.settle()
    entries.end()
    victim = environment.fleet.worker("victim", "exits", faults=f"{point}:kill")
    environment.operator.do("publish", action="CLOSE", refers_to=first)
    environment.wait(lambda: not victim.alive, f"no process reached {point}")
    scenario = Scenario(environment)
    environment.fleet.worker("successor", "exits")
    environment.wait(lambda: environment.count.open_positions() == TOTAL - N, "not closed")
    environment.settle()
    wrong = environment.count.wrong(TOTAL)
    assert wrong.keys() <= {"audit NAKED"}  # no process watches prices here
    for signal in others:
        environment.operator.do("publish", action="CLOSE", refers_to=signal)
    environment.wait(lambda: environment.count.open_positions() == 0, "not flat")
    environment.settle()
    scenario.end()
    assert environment.count.wrong(TOTAL) == {}
    assert environment.books.value("SELECT count(*) FROM paper_position WHERE quantity <> 0") == 0
