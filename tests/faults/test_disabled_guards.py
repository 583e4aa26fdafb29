"""Without a guard the counters are not 0: so the other cases do not pass by chance."""

import pytest

from tests.faults.conftest import OPENED
from tests.faults.environment import FaultEnvironment
from tests.faults.unprotected_time import MAX_SECONDS

pytestmark = [pytest.mark.faults]
N = 50


def test_without_send_deadline_stopped_worker_sends_absent_order(
    environment: FaultEnvironment,
) -> None:
    victim = environment.fleet.worker(
        "victim", faults="dispatch.begin:stop", without="deadline", wait=False
    )
    other = environment.fleet.worker("other", wait=False)
    environment.fleet.wait_for_lease(victim, other)
    environment.quote()
    other.stop()
    environment.operator.do("publish", feed=N)
    environment.wait(lambda: victim.stopped, "no process reached it")
    other.go_on()
    environment.settle()
    assert environment.count.states() == {"FAILED NEVER_ARRIVED": N}
    victim.go_on()
    environment.wait(lambda: environment.count.accepted() == N, "nothing was sent late")
    wrong = environment.count.wrong(N)
    assert wrong["journal RISEN"] == N
    assert wrong["audit RISEN"] == N


def test_with_one_absence_confirmation_late_order_becomes_live(
    environment: FaultEnvironment,
) -> None:
    environment.broker(latency_ms=8_000)
    environment.fleet.worker(without="second_proof")
    environment.quote()
    environment.operator.do("publish", feed=N)
    environment.wait(lambda: environment.count.accepted() == N, "they did not arrive")
    wrong = environment.count.wrong(N)
    assert wrong["journal RISEN"] == N
    assert wrong["audit RISEN"] == N


def test_orders_double_if_sends_are_not_recorded(environment: FaultEnvironment) -> None:
    victim = environment.fleet.worker("victim", faults="dispatch.answered:kill", without="records")
    environment.quote()
    environment.operator.do("publish", feed=N)
    environment.wait(lambda: not victim.alive, "no process reached dispatch.answered")
    environment.fleet.worker("successor")
    environment.settle()
    wrong = environment.count.wrong(N)
    assert wrong["journal DUP"] > 0
    assert wrong["audit DUP"] > 0


def test_orders_double_if_lost_reply_counts_as_not_sent(
    environment: FaultEnvironment,
) -> None:
    environment.broker(silent_after=True)
    environment.fleet.worker(without="doubt")
    environment.quote()
    environment.operator.do("publish", feed=N)
    environment.wait(lambda: environment.count.accepted() >= 2 * N, "nothing was sent twice")
    wrong = environment.count.wrong(N)
    assert wrong["journal DUP"] >= N
    assert wrong["audit DUP"] == N


def test_without_event_reader_positions_are_ghosts(opened: FaultEnvironment) -> None:
    opened.quote()
    opened.fleet.worker("deaf", "exits", without="events")
    opened.quote(bid="1.09400", ask="1.09410")
    opened.wait(lambda: opened.count.unacknowledged_events() == 0, "the events are still waiting")
    wrong = opened.count.wrong(200)
    assert wrong["journal GHOST"] == 200
    assert wrong["audit GHOST"] == 200


@pytest.mark.parametrize(
    ("without", "harm"),
    [("events", False), ("fence,events", True)],
    ids=["with-fencing-token", "without"],
)
def test_stale_report_counts_only_without_fencing_token(
    opened: FaultEnvironment, without: str, harm: bool
) -> None:
    """A stale worker must not report for the calls of its successor.

    The first worker is stopped before it sends; its successor sends and is stopped with the answers
    unread. Then the first one continues and reports that its own call was not sent. It reads no
    events, which would show it the closes.
    """
    stale = opened.fleet.worker(
        "stale", "exits", faults="dispatch.begin:stop", without=without, wait=False
    )
    successor = opened.fleet.worker(
        "successor", "exits", faults="dispatch.answered:stop", without="events", wait=False
    )
    opened.fleet.wait_for_lease(stale, successor)
    opened.broker(reply_delay_ms=500)  # many have arrived before the first is answered
    opened.quote()
    successor.stop()
    opened.operator.do("close", positions=opened.positions()[:N], fraction="0.5")
    opened.wait(lambda: stale.stopped, "no process reached it")
    successor.go_on()
    opened.wait(lambda: not opened.fleet.has_lease(stale.pid), "it is believed alive")
    opened.wait(lambda: "stop at dispatch.answered" in successor.output(), "no call was answered")
    stale.go_on()
    opened.settle()
    successor.go_on()
    successor.end()
    wrong = opened.count.wrong(OPENED)
    twice = opened.count.accepted() - OPENED - N
    assert (twice > 0) is harm
    assert wrong.get("journal DUP", 0) == wrong.get("audit DUP", 0) == twice
    assert harm or wrong == {}


def test_without_prices_process_stops_kept_by_us_are_unprotected(watched: FaultEnvironment) -> None:
    """Both figures notice: that of the broker's books, and the product's own."""
    watched.quote()
    watched.fleet.worker("worker", "exits")
    watched.wait(lambda: watched.unprotected_seconds() > MAX_SECONDS, "the books show no time")
    watched.wait(lambda: watched.recorded_unprotected_seconds() > MAX_SECONDS, "none was recorded")
    with pytest.raises(AssertionError, match="had no stop for"):
        watched.expect_protected()
