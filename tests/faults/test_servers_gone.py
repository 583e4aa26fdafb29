"""Redis and PostgreSQL that end, and return or not, in a burst of 3,000 orders and more."""

import signal
from contextlib import suppress

import pytest

from tests.faults.environment import FaultEnvironment, Scenario
from tests.faults.process_fleet import OperatorFailedError, wait_until
from tests.faults.test_entries import all_ended
from tests.faults.test_processes import burst

pytestmark = [pytest.mark.faults]
FIRST_SIGNAL = "SELECT min(id) FROM signals_signal"


def in_the_middle(environment: FaultEnvironment) -> int:
    """Start two workers and wait for the middle of a burst; return its number of orders."""
    workers = [environment.fleet.worker(f"worker-{n}", wait=False) for n in (1, 2)]
    environment.fleet.wait_for_lease(*workers)
    expected = burst(environment)
    environment.wait(lambda: environment.filled() > 0, "never in the middle of it")
    return expected


@pytest.mark.parametrize("fault", ["killed, back empty", "flushed", "never back", "stands still"])
def test_redis_fails_in_a_burst(crowded: FaultEnvironment, fault: str) -> None:
    expected = in_the_middle(crowded)
    servers = crowded.servers
    if fault == "flushed":
        servers.flush_redis()
    elif fault == "stands still":
        servers.signal_redis(signal.SIGSTOP)
    else:
        servers.kill_redis()
    scenario = Scenario(crowded)
    assert scenario.at_fault["PENDING"] > 0
    if fault == "killed, back empty":
        servers.redis.start()
    try:
        crowded.settle()
    finally:
        if fault == "stands still":
            servers.signal_redis(signal.SIGCONT)
    scenario.end()
    all_ended(crowded, expected, absent_at_most=0)


@pytest.mark.quick
def test_publication_succeeds_without_redis_and_workers_find_it(
    environment: FaultEnvironment,
) -> None:
    environment.fleet.worker()
    environment.quote()
    environment.servers.kill_redis()
    assert len(environment.operator.do("publish", feed=200)) == 1
    environment.settle()
    all_ended(environment, 200, absent_at_most=0)


@pytest.mark.parametrize("how", ["restarted", "crashed", "a session killed"])
def test_postgres_fails_in_a_burst(crowded: FaultEnvironment, how: str) -> None:
    expected = in_the_middle(crowded)
    scenario = Scenario(crowded)
    if how == "a session killed":
        crowded.servers.kill_backend()
    else:
        crowded.servers.end_postgres(signal.SIGINT if how == "restarted" else signal.SIGQUIT)
        crowded.servers.postgres.start()
    crowded.settle()
    scenario.end()
    assert all(crowded.fleet[name].alive for name in ("worker-1", "worker-2"))
    # Orders of intents whose commit was not confirmed have not left.
    all_ended(crowded, expected, absent_at_most=expected)
    assert crowded.filled() > expected * 0.8


def test_postgres_crashes_during_mass_close(opened: FaultEnvironment) -> None:
    from tests.faults.conftest import OPENED

    opened.fleet.worker("exits", "exits")
    opened.broker(reply_delay_ms=200)
    opened.quote()
    opened.operator.do("publish", action="CLOSE", refers_to=opened.ours.value(FIRST_SIGNAL))
    opened.wait(lambda: opened.count.in_flight() > 0, "nothing under way")
    scenario = Scenario(opened)
    opened.servers.end_postgres(signal.SIGQUIT)
    opened.servers.postgres.start()
    opened.wait(lambda: opened.count.open_positions() == 0, "not flat", 60)
    opened.settle()
    scenario.end()
    assert opened.count.wrong(OPENED) == {}


def test_worker_started_before_database_trades_when_available(
    environment: FaultEnvironment,
) -> None:
    """Celery only logs an error at a worker's start, and each later task would fail."""
    environment.operator.do("quote")
    environment.servers.end_postgres(signal.SIGINT)
    early = environment.fleet.worker("early", wait=False)
    wait_until(lambda: "waiting for the database" in early.output(), 60, early.output)
    environment.servers.postgres.start()
    environment.fleet.wait_for_lease(early)
    with suppress(OperatorFailedError):  # its connection is broken too
        environment.operator.do("quote")
    environment.operator.do("publish", feed=50)
    environment.wait(lambda: environment.filled() == 50, "the early worker does not trade")
