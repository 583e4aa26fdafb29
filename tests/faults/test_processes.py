"""Whole processes that are killed at any moment of a burst, or stopped by SIGTERM."""

import json
import random
import signal
import time
import urllib.request
from functools import partial

import pytest

from config.env import Settings
from ops.stack import stack
from tests.faults.conftest import CROWD, OPENED
from tests.faults.environment import TAKE_OVER_SECONDS, FaultEnvironment, Scenario
from tests.faults.test_entries import all_ended
from tests.ports import free_port

pytestmark = [pytest.mark.faults]
BURST = 5
FIRST_SIGNAL = "SELECT min(id) FROM signals_signal"


@pytest.fixture
def environment(crowded: FaultEnvironment) -> FaultEnvironment:
    return crowded


def burst(environment: FaultEnvironment) -> int:
    """Publish BURST signals to CROWD accounts each; return how many orders that makes."""
    environment.broker(reply_delay_ms=200)
    environment.quote()
    environment.operator.do("publish", feed=CROWD, count=BURST)
    return BURST * CROWD


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_workers_killed_at_random_in_a_burst(environment: FaultEnvironment, seed: int) -> None:
    dice = random.Random(seed)
    names = ["worker-1", "worker-2"]
    for name in names:
        environment.fleet.worker(name, "execution", wait=False)
    environment.fleet.wait_for_lease(*(environment.fleet[name] for name in names))
    expected = burst(environment)
    assert environment.count.unsettled() >= 3_000
    absent = 0
    for _ in range(4):
        time.sleep(dice.uniform(0, 1.5))  # a random moment; there is no condition to wait for
        victim = environment.fleet[dice.choice(names)]
        victim.kill()
        scenario = Scenario(environment)
        absent += scenario.in_flight
        environment.fleet.worker(victim.name, "execution")
        took = environment.wait(
            partial(environment.taken_over, victim), "its orders were not taken over"
        )
        assert took <= TAKE_OVER_SECONDS
    environment.settle()
    scenario.end()
    all_ended(environment, expected, absent_at_most=absent)


def test_both_workers_and_sweeper_killed_together_in_a_burst(
    environment: FaultEnvironment,
) -> None:
    kinds = {"worker-1": "execution", "worker-2": "execution", "maintenance": "maintenance"}
    for name, queues in kinds.items():
        environment.fleet.worker(name, queues, wait=False)
    environment.fleet.wait_for_lease(*(environment.fleet[name] for name in kinds))
    expected = burst(environment)
    environment.wait(
        lambda: environment.count.in_flight() > 0 and environment.filled() > 0, "not in the middle"
    )
    assert environment.count.unsettled() >= 3_000
    for name in kinds:
        environment.fleet[name].kill()
    scenario = Scenario(environment)
    for name, queues in kinds.items():
        environment.fleet.worker(name, queues, wait=False)
    environment.settle()
    scenario.end()
    all_ended(environment, expected, absent_at_most=scenario.in_flight)


def test_worker_stopped_at_random_in_a_burst(environment: FaultEnvironment) -> None:
    victim = environment.fleet.worker("victim", "execution", wait=False)
    other = environment.fleet.worker("other", "execution", wait=False)
    environment.fleet.wait_for_lease(victim, other)
    expected = burst(environment)
    environment.wait(lambda: environment.filled() > 300, "not in the middle")
    victim.stop()
    scenario = Scenario(environment)
    environment.settle()
    scenario.end()
    accepted = environment.count.accepted()
    victim.go_on()
    other.end()
    environment.fleet.wait_for_lease(victim)
    environment.quote()
    environment.operator.do("publish", feed=50)
    environment.settle()
    assert environment.count.accepted() == accepted + 50
    all_ended(environment, expected + 50, absent_at_most=scenario.in_flight)


def test_exits_worker_killed_during_mass_close(opened: FaultEnvironment) -> None:
    opened.fleet.worker("exits", "exits")
    opened.broker(reply_delay_ms=300)
    opened.quote()
    opened.operator.do("publish", action="CLOSE", refers_to=opened.ours.value(FIRST_SIGNAL))
    opened.wait(lambda: opened.count.in_flight() > 0, "nothing under way")
    opened.fleet["exits"].kill()
    scenario = Scenario(opened)
    opened.fleet.worker("exits", "exits")
    opened.wait(lambda: opened.count.open_positions() == 0, "not flat", 60)
    opened.settle()
    scenario.end()
    assert opened.count.wrong(OPENED) == {}


def test_levels_are_monitored_after_beat_restarts(watched: FaultEnvironment) -> None:
    watched.ours.rows("UPDATE django_celery_beat_periodictask SET enabled = true")
    watched.fleet.worker("exits", "exits", wait=False)
    watched.fleet.worker("maintenance", "maintenance")
    beat = watched.fleet.beat()
    watched.wait(lambda: "Sending due task" in beat.output(), "beat sends no task")
    beat.kill()
    scenario = Scenario(watched)
    watched.quote(bid="1.09400", ask="1.09410")
    watched.fleet.beat()
    watched.wait(lambda: watched.count.open_positions() == 0, "not closed", 90)
    watched.settle()
    scenario.end()
    assert watched.count.wrong(OPENED) == {}


def test_prices_process_killed_after_quote_was_stored(watched: FaultEnvironment) -> None:
    quotes = {"EUR/USD": ["1.09400", "1.09410"]}
    watched.ours.rows(
        "UPDATE connections_dataconnection SET settings = jsonb_build_object('quotes', %s::jsonb)",
        json.dumps(quotes),
    )
    victim = watched.fleet.start(stack.command_process("prices"), faults="quotes.stored:kill")
    watched.wait(lambda: not victim.alive, "no quote was stored", 60)
    scenario = Scenario(watched)
    watched.fleet.worker("exits", "exits", wait=False)
    watched.fleet.prices()
    watched.operator.do("send", name="execution.watch_positions", arguments=[], queue="exits")
    watched.wait(lambda: watched.count.open_positions() == 0, "not closed", 60)
    watched.settle()
    scenario.end()
    assert watched.count.wrong(OPENED) == {}


@pytest.mark.parametrize("point", ["reconcile.read", "reconcile.committed"])
def test_maintenance_killed_during_reconciliation(opened: FaultEnvironment, point: str) -> None:
    """200 positions were closed at the broker, and its events were lost."""
    victim = opened.fleet.worker("victim", "maintenance", faults=f"{point}:kill:2")
    opened.quote()
    accounts = opened.books.rows("SELECT DISTINCT account_id FROM paper_position")
    assert len(accounts) == OPENED
    opened.books.rows("UPDATE paper_position SET quantity = 0")
    task = {"name": "execution.reconcile", "arguments": [], "queue": "maintenance"}

    def compared() -> bool:
        opened.operator.do("send", **task)
        return not victim.alive

    opened.wait(compared, f"no process reached {point}", 60)
    scenario = Scenario(opened)
    opened.fleet.worker("successor", "maintenance")

    def closed() -> bool:
        opened.operator.do("send", **task)
        return opened.count.open_positions() == 0

    opened.wait(closed, "not closed here", 60)
    scenario.end()
    assert opened.count.wrong(OPENED) == {}


def test_web_process_killed_during_publication(environment: FaultEnvironment) -> None:
    environment.fleet.worker()
    environment.quote()
    key, signal_id = environment.operator.do("draft", feed=200)
    port = str(free_port())
    web = stack.web_process(_env(environment, port))
    victim = environment.fleet.start(web, faults="publish.written:kill", FILLCAST_LISTEN=port)
    environment.wait(lambda: web.ready is not None and web.ready(), "no web", 60)
    with pytest.raises(OSError):
        _publish(port, key, signal_id)
    assert not victim.alive or victim.popen.wait(10) == -9
    scenario = Scenario(environment)
    assert scenario.at_fault == {}
    victim = environment.fleet.start(web, faults="enqueue.bundle:kill", FILLCAST_LISTEN=port)
    environment.wait(lambda: web.ready is not None and web.ready(), "no web", 60)
    with pytest.raises(OSError):
        _publish(port, key, signal_id)
    environment.settle()
    scenario.end()
    all_ended(environment, 200, absent_at_most=0)


def _env(environment: FaultEnvironment, port: str) -> Settings:
    environ = {**environment.fleet.environ, "FILLCAST_LISTEN": port, "FILLCAST_DB_ROLE": "web"}
    environ.pop("FILLCAST_CREDENTIALS_PRIVATE_KEYS")
    return Settings.read(environ)


def _publish(port: str, key: str, signal_id: int) -> None:
    request = urllib.request.Request(  # our own web process on loopback
        f"http://127.0.0.1:{port}/api/v1/signals/{signal_id}/publish/",
        method="POST",
        headers={"Authorization": f"Bearer {key}"},
    )
    urllib.request.urlopen(request, timeout=20).read()


def test_deploy_loses_nothing_and_waits_for_no_lease(environment: FaultEnvironment) -> None:
    """SIGTERM: calls in flight end, other orders are released at once for the next worker."""
    lease = 10
    environment.fleet.environ["FILLCAST_LEASE_SECONDS"] = str(lease)
    leaving = environment.fleet.worker("leaving")
    environment.broker(reply_delay_ms=100)
    environment.quote()
    environment.operator.do("publish", feed=CROWD)
    environment.wait(lambda: environment.filled() > 0, "never in the middle of it")
    assert leaving.end() == 0
    scenario = Scenario(environment)
    assert scenario.in_flight == 0, "a call in hand was not waited for"
    assert scenario.at_fault["PENDING"] > 0
    assert environment.ours.value("SELECT count(*) FROM execution_workerlease") == 0
    filled = environment.filled()
    environment.fleet.worker("next")
    took = environment.wait(lambda: environment.filled() > filled, "not taken up")
    assert took < lease  # until the first one; the total depends on the machine
    environment.settle()
    scenario.end()
    all_ended(environment, CROWD, absent_at_most=0)


def test_deploy_during_exits(opened: FaultEnvironment) -> None:
    leaving = opened.fleet.worker("leaving", "exits")
    opened.broker(reply_delay_ms=300)
    opened.quote()
    opened.operator.do("publish", action="CLOSE", refers_to=opened.ours.value(FIRST_SIGNAL))
    opened.wait(lambda: opened.count.in_flight() > 0, "nothing under way")
    leaving.signal(signal.SIGTERM)
    opened.fleet.worker("next", "exits")
    assert leaving.popen.wait(30) == 0
    opened.wait(lambda: opened.count.open_positions() == 0, "not flat")
    opened.settle()
    assert opened.count.wrong(OPENED) == {}
