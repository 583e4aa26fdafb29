"""Real processes, real kills, counted against the paper broker's own journal."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.sql import rows
from tests.faults.processes import Fleet, count, open_orders, seed, states, until

N = 1_000
NOTHING_WRONG = dict.fromkeys(
    ("MISSING", "DUP", "ORPHAN", "LOST", "UNTOLD", "PHANTOM", "MISMATCH"), 0
)
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    tmp_path.chmod(0o755)
    with Fleet(tmp_path) as fleet:
        yield fleet


def filled() -> int:
    return states().get("FILLED", 0)


def in_flight() -> int:
    return states().get("SUBMITTING", 0)


def settle(seconds: float = 60) -> float:
    return until(lambda: open_orders() == 0, seconds, f"still open: {states()}")


def test_a_worker_killed_in_a_fan_out_of_1000_loses_and_doubles_nothing(fleet: Fleet) -> None:
    feed = seed(N, reply_delay_ms=150)
    fleet.worker("victim")
    fleet.publish(feed)
    until(lambda: 0 < filled() < N and in_flight() >= 50, 30, "never in the middle of it")
    fleet.kill("victim")
    at_kill = states()
    fleet.worker("successor")
    seconds = settle()
    print(f"at the kill {at_kill}; settled after {seconds:.1f} s: {states()}")
    assert at_kill["SUBMITTING"] > 0
    assert count(N) == NOTHING_WRONG
    assert filled() + states().get("FAILED NEVER_ARRIVED", 0) == N


def test_redis_restarted_empty_in_a_fan_out_of_1000_loses_and_doubles_nothing(
    fleet: Fleet,
) -> None:
    feed = seed(N, reply_delay_ms=150)
    fleet.worker("worker-1")
    fleet.publish(feed, count=3)
    until(lambda: 0 < filled() < 3 * N, 30, "never in the middle of it")
    fleet.redis.process.kill()  # type: ignore[union-attr]
    fleet.redis.process.wait()  # type: ignore[union-attr]
    at_kill = states()
    fleet.redis.start()  # it keeps nothing: it comes back empty
    seconds = settle()
    print(f"at the kill {at_kill}; settled after {seconds:.1f} s: {states()}")
    assert at_kill["PENDING"] > 0
    assert count(3 * N) == NOTHING_WRONG
    assert states() == {"FILLED": 3 * N}


def test_without_any_redis_a_publication_succeeds_and_workers_find_it(fleet: Fleet) -> None:
    feed = seed(100)
    fleet.worker("worker-1")
    fleet.redis.stop()
    told = fleet.publish(feed)
    assert told["published"] == 1
    settle()
    assert states() == {"FILLED": 100}
    assert count(100) == NOTHING_WRONG


def test_sigterm_ends_the_calls_in_hand_and_gives_the_rest_back(fleet: Fleet) -> None:
    feed = seed(N, reply_delay_ms=150)
    fleet.worker("leaving")
    fleet.publish(feed)
    until(lambda: 0 < filled() < N, 30, "never in the middle of it")
    fleet.kill("leaving", signal.SIGTERM)
    left = states()
    assert "SUBMITTING" not in left, "a call in hand was not waited for"
    assert rows("SELECT count(*) AS n FROM execution_workerlease")[0].n == 0
    fleet.worker("next")
    settle()
    assert states() == {"FILLED": N}
    assert count(N) == NOTHING_WRONG


def test_an_answer_that_never_comes_is_looked_up_and_not_sent_again(fleet: Fleet) -> None:
    feed = seed(50, silent_after=True)
    fleet.worker("worker-1")
    fleet.publish(feed)
    until(lambda: states().get("UNKNOWN", 0) > 0, 30, "nothing became unknown")
    settle()
    assert states() == {"FILLED": 50}
    assert count(50) == NOTHING_WRONG
