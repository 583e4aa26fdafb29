"""Our processes behind PgBouncer in transaction mode: a real one of the installed package.

Its pool has fewer server sessions than there are processes, so that each of these is used by all.
"""

import signal
import time
from pathlib import Path

import pytest

from ops.embedded.postgres import NAME
from ops.embedded.processes import wait_until
from tests.faults.environment import ACCOUNTS, Scenario
from tests.faults.pgbouncer import POOL_SIZE, program
from tests.faults.pooled import PooledEnvironment
from tests.faults.process_fleet import EVERYTHING, Process
from tests.faults.test_entries import all_ended
from tests.ports import free_port
from tests.web_process import Browser, WebProcess

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(program() is None, reason="needs the package pgbouncer"),
]


def start_all(pooled: PooledEnvironment) -> list[Process]:
    """Start two workers, beat and the prices process: more of them than server sessions."""
    fleet = pooled.fleet
    workers = [fleet.worker("worker", wait=False), fleet.worker("second", EVERYTHING, wait=False)]
    processes = [*workers, fleet.prices(), fleet.beat()]
    fleet.wait_for_lease(*workers)
    return processes


def test_every_process_shares_a_small_pool(pooled: PooledEnvironment) -> None:
    processes = start_all(pooled)
    pooled.quote()
    assert len(pooled.operator.do("publish", feed=ACCOUNTS)) == 1
    seen = []

    def is_settled() -> bool:
        seen.append(pooled.sessions()["trade"])
        return bool(pooled.count.unsettled() == 0)

    pooled.wait(is_settled, "still open")
    all_ended(pooled, ACCOUNTS, absent_at_most=0)
    assert 0 < max(seen) <= POOL_SIZE
    assert len(pooled.bouncer.clients("trade")) > POOL_SIZE
    logs = pooled.fleet.log()
    assert all(process.alive for process in processes)
    assert "prepared statement" not in logs
    assert "Traceback" not in logs, logs


def test_killed_pooler_loses_and_doubles_nothing(pooled: PooledEnvironment) -> None:
    start_all(pooled)
    pooled.broker(reply_delay_ms=100)
    pooled.quote()
    pooled.operator.do("publish", feed=ACCOUNTS)
    pooled.wait(lambda: pooled.filled() >= ACCOUNTS // 10, "nothing is filled")
    pooled.bouncer.kill()
    scenario = Scenario(pooled)
    assert scenario.at_fault.get("FILLED", 0) < ACCOUNTS
    time.sleep(1)  # statements fail meanwhile
    pooled.bouncer.start()
    pooled.settle()
    scenario.end()
    all_ended(pooled, ACCOUNTS, absent_at_most=scenario.in_flight)
    pooled.quote()
    pooled.operator.do("publish", feed=50)
    pooled.settle()
    all_ended(pooled, ACCOUNTS + 50, absent_at_most=scenario.in_flight)


def test_login_without_parameters_is_refused_by_name(pooled: PooledEnvironment) -> None:
    for change in ("RESET statement_timeout", "SET jit = on"):
        pooled.ours.rows(f"ALTER ROLE trade IN DATABASE {NAME} {change}")
    pooled.bouncer.reconnect()
    worker = pooled.fleet.worker(wait=False)
    reported = (
        "The login trade of FILLCAST_DATABASES is not made for a transaction pooler:"
        " statement_timeout is 0, not 2400; jit is on, not off. Run `manage.py pooled_login`"
    )
    assert wait_until(lambda: reported in worker.output(), 60), worker.output()[-2000:]
    assert not pooled.fleet.has_lease(worker.pid)
    assert "statement_timeout is 0, not 2400" in pooled.command("trade", "doctor", "--json")
    pooled.prepare_logins()
    pooled.bouncer.reconnect()
    pooled.fleet.wait_for_lease(worker)  # it has tried again


def test_login_of_another_role_is_refused_by_name(pooled: PooledEnvironment) -> None:
    databases = pooled.databases(pooled.servers, trade="web")
    reported = pooled.command("trade", "killswitch", "list", FILLCAST_DATABASES=databases)
    assert "it is a member of ['fillcast_web'], not of fillcast_trade" in reported


NEW_USER = """
import json
from users.models import User
print(json.dumps(User.objects.create_user("tenant", password="correct horse 12").pk))
"""


def test_web_process_serves_pages_through_the_pool(
    pooled: PooledEnvironment, tmp_path: Path
) -> None:
    pooled.script("owner", NEW_USER)
    with WebProcess(tmp_path / "web.log", **pooled.environ_of("web")) as web:
        assert web.browser().get("/readyz").status == 200
        browser = web.browser()
        assert browser.sign_in("tenant", "correct horse 12").status == 302
        for _ in range(5):
            assert browser.get("/accounts/").status == 200
        pooled.bouncer.kill()
        assert web.browser().get("/readyz").status == 503
        pooled.bouncer.start()
        answers = wait_until(lambda: browser.get("/accounts/").status == 200, 20)
        assert answers, (tmp_path / "web.log").read_text()[-3000:]
    assert 0 < pooled.sessions()["web"] <= POOL_SIZE


def test_whole_stack_runs_through_the_pool(pooled: PooledEnvironment, tmp_path: Path) -> None:
    """Supervisor, fork server, web, beat, prices and all workers."""
    port = free_port()
    environ = {**pooled.fleet.environ, "FILLCAST_LISTEN": str(port)}
    stack = Process.python("stack", ("manage.py", "stack"), environ, tmp_path / "stack.log")
    try:
        assert wait_until(lambda: "Fillcast runs at" in stack.output(), 90), stack.output()
        pooled.quote()
        pooled.operator.do("publish", feed=ACCOUNTS)
        pooled.settle()
        all_ended(pooled, ACCOUNTS, absent_at_most=0)
        assert Browser(port).get("/readyz").status == 200
        programs = {*pooled.bouncer.clients("trade"), *pooled.bouncer.clients("web")}
        assert {"fillcast-trade task:worker", "fillcast-trade task:beat"} <= programs, programs
        assert any(name.startswith("fillcast-web process:") for name in programs), programs
    finally:
        stack.signal(signal.SIGINT)
        stack.popen.wait(60)
