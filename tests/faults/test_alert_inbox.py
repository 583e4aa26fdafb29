"""Alerts from the endpoint to the inbox: none is lost, each is one signal, whatever fails."""

import signal
import time

import pytest

from tests.faults.environment import FaultEnvironment
from tests.faults.process_fleet import OperatorDiedError

pytestmark = [pytest.mark.faults]
N = 50
ALERTS = 20
WAITING = "SELECT count(*) FROM alerts_incomingalert WHERE state = 'WAITING'"
STATES = "SELECT string_agg(state, ' ' ORDER BY id) FROM alerts_incomingalert"
SIGNALS = "SELECT count(*) FROM signals_signal WHERE published_at IS NOT NULL"
# Pairs of signals of one feed that were published in another order than their alerts arrived in.
OVERTAKEN = """
SELECT count(*) FROM alerts_incomingalert a JOIN alerts_incomingalert b
  ON b.feed_id = a.feed_id AND b.id > a.id AND a.state = 'PUBLISHED' AND b.state = 'PUBLISHED'
WHERE a.signal_ids[1] > b.signal_ids[1]
"""


def settle(environment: FaultEnvironment, signals: int) -> None:
    """Wait until no alert waits and all orders have ended; count signals and orders."""
    environment.wait(lambda: environment.ours.value(WAITING) == 0, "an alert still waits")
    environment.settle()
    assert environment.ours.value(SIGNALS) == signals
    assert environment.count.states("%") == {"FILLED": N * signals}
    assert environment.count.wrong(N * signals) == {}


@pytest.mark.parametrize("point", ["alert.claimed", "publish.written", "alert.written"])
def test_worker_killed_while_it_publishes_an_alert(
    environment: FaultEnvironment, point: str
) -> None:
    victim = environment.fleet.worker("worker-1", faults=f"{point}:kill")
    environment.quote()
    assert environment.operator.do("alert", feed=N) == ["WAITING"]
    environment.wait(lambda: not victim.alive, "the worker did not reach the point")
    assert environment.ours.value(SIGNALS) == 0
    environment.fleet.worker("worker-2")
    settle(environment, 1)
    assert environment.ours.value(STATES) == "PUBLISHED"


def test_stopped_worker_gives_an_alert_up(environment: FaultEnvironment) -> None:
    """Its transaction idles; the server ends it, and the lock of the alert with it."""
    victim = environment.fleet.worker("worker-1", faults="alert.written:stop")
    environment.quote()
    environment.operator.do("alert", feed=N)
    environment.wait(lambda: victim.stopped, "the worker did not reach the point")
    environment.fleet.worker("worker-2")
    settle(environment, 1)
    victim.go_on()
    environment.wait(lambda: environment.fleet.has_lease(victim.pid), "it did not come back")
    settle(environment, 1)


def test_endpoint_killed_after_it_stored_an_alert(environment: FaultEnvironment) -> None:
    environment.fleet.worker()
    environment.quote()
    with pytest.raises(OperatorDiedError):
        environment.fleet.operator(faults="alert.stored:kill").do("alert", feed=N)
    settle(environment, 1)


@pytest.mark.parametrize("fault", ["gone", "stands still"])
def test_endpoint_accepts_alerts_without_redis(environment: FaultEnvironment, fault: str) -> None:
    environment.fleet.worker()
    environment.quote()
    if fault == "gone":
        environment.servers.kill_redis()
    else:
        environment.servers.signal_redis(signal.SIGSTOP)
    try:
        environment.operator.do("alert", feed=N)  # finds out that Redis does not answer
        began = time.monotonic()
        environment.operator.do("alert", feed=N, count=5, first=1)
        assert time.monotonic() - began < 3  # it stands still for far longer
        settle(environment, 6)
    finally:
        if fault == "stands still":
            environment.servers.signal_redis(signal.SIGCONT)


@pytest.mark.parametrize("how", ["restarted", "crashed"])
def test_database_fails_while_alerts_are_published(environment: FaultEnvironment, how: str) -> None:
    environment.fleet.worker("worker-1", wait=False)
    environment.fleet.worker("worker-2")
    environment.quote()
    environment.operator.do("alert", feed=N, count=ALERTS)
    environment.wait(lambda: environment.ours.value(SIGNALS) > 0, "none is published")
    environment.servers.end_postgres(signal.SIGINT if how == "restarted" else signal.SIGQUIT)
    environment.servers.postgres.start()
    settle(environment, ALERTS)


def test_racing_workers_publish_each_alert_once_and_in_order(
    environment: FaultEnvironment,
) -> None:
    workers = [environment.fleet.worker(f"worker-{n}", wait=False) for n in (1, 2)]
    environment.fleet.wait_for_lease(*workers)
    environment.quote()
    environment.operator.do("alert", feed=N, count=ALERTS, times=2)  # each is sent twice
    settle(environment, ALERTS)
    assert environment.ours.value(STATES) == " ".join(["PUBLISHED REPEATED"] * ALERTS)
    assert environment.ours.value(OVERTAKEN) == 0
