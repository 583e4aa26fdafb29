"""Our processes behind PgBouncer in transaction mode: a real one of the installed package.

Its pool has fewer server sessions than there are processes, so that each of these is used by all.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ops.embedded.postgres import NAME
from ops.embedded.processes import wait_until
from tests.faults.environment import ACCOUNTS, FaultEnvironment, Scenario, end_reused
from tests.faults.pgbouncer import PgBouncer, program
from tests.faults.process_fleet import EVERYTHING, Process
from tests.faults.servers import Servers, manage
from tests.faults.test_entries import all_ended
from tests.server_folders import server_folder
from tests.web_process import WebProcess

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(300, func_only=True),
    pytest.mark.skipif(program() is None, reason="needs the package pgbouncer"),
]
POOL_SIZE = 2
LOGINS = {"trade": "fillcast_trade", "web": "fillcast_web"}
PASSWORD = "pooled"


@pytest.fixture(scope="module")
def pgbouncer(servers: Servers) -> Iterator[PgBouncer]:
    with psycopg.connect(servers.postgres.url, autocommit=True) as owner:
        for login, role in LOGINS.items():
            owner.execute(
                f"CREATE ROLE {login} LOGIN PASSWORD '{PASSWORD}' IN ROLE {role}".encode()
            )
    with server_folder("fillcast-pgbouncer-") as folder:
        passwords = dict.fromkeys(LOGINS, PASSWORD)
        bouncer = PgBouncer(folder / "bouncer", servers.postgres.url, passwords, size=POOL_SIZE)
        try:
            yield bouncer
        finally:
            bouncer.kill()


@pytest.fixture
def environment(
    pgbouncer: PgBouncer, servers: Servers, tmp_path: Path
) -> Iterator[FaultEnvironment]:
    if not pgbouncer.runs:
        pgbouncer.start()
    pooled = {
        "FILLCAST_DB_POOLER": "transaction",
        "FILLCAST_TRADE_DATABASE_URL": pgbouncer.url("trade"),
        "FILLCAST_WEB_DATABASE_URL": pgbouncer.url("web"),
    }
    end_reused(servers)  # its operator's process goes past the pooler
    with FaultEnvironment(servers, tmp_path, pooled) as environment:
        prepare_logins(environment)  # their parameters belong to the database, which is new
        yield environment
    end_reused(servers)  # its operator's process has this address


def prepare_logins(environment: FaultEnvironment) -> None:
    for role in LOGINS:
        done = command(environment, role, "pooled_login")
        assert f"The login {role} has its parameters" in done, done


def environ_of(environment: FaultEnvironment, role: str) -> dict[str, str]:
    """Return the environment of a process of a role."""
    environ = {**environment.fleet.environ, "FILLCAST_DB_ROLE": role}
    if role == "web":
        del environ["FILLCAST_CREDENTIALS_PRIVATE_KEYS"]
    return environ


def command(environment: FaultEnvironment, role: str, *arguments: str, **env: str) -> str:
    """Run a management command of a role; return its output, also the errors."""
    done = manage({**environ_of(environment, role), **env}, arguments)
    return done.stdout + done.stderr


def script(environment: FaultEnvironment, role: str, text: str) -> Any:
    """Run a script of a role, which prints JSON."""
    done = manage(environ_of(environment, role), ["shell", "--no-imports", "-c", text])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def start_all(environment: FaultEnvironment) -> list[Process]:
    """Start two workers, beat and the prices process: more of them than server sessions."""
    fleet = environment.fleet
    workers = [fleet.worker("worker", wait=False), fleet.worker("second", EVERYTHING, wait=False)]
    processes = [*workers, fleet.prices(), fleet.beat()]
    fleet.wait_for_lease(*workers)
    return processes


def sessions(environment: FaultEnvironment) -> Mapping[str, int]:
    """Return how many server sessions each login has, by the server's own list."""
    found = environment.ours.rows(
        "SELECT usename FROM pg_stat_activity WHERE datname = %s AND backend_type ="
        " 'client backend'", NAME,
    )  # fmt: skip
    return Counter(row.usename for row in found)


@pytest.mark.quick
def test_every_process_shares_a_small_pool(
    environment: FaultEnvironment, pgbouncer: PgBouncer
) -> None:
    processes = start_all(environment)
    environment.quote()
    assert len(environment.operator.do("publish", feed=ACCOUNTS)) == 1
    seen = []

    def is_settled() -> bool:
        seen.append(sessions(environment)["trade"])
        return bool(environment.count.unsettled() == 0)

    environment.wait(is_settled, "still open")
    all_ended(environment, ACCOUNTS, absent_at_most=0)
    assert 0 < max(seen) <= POOL_SIZE
    assert pgbouncer.clients("trade") > POOL_SIZE
    logs = environment.fleet.log()
    assert all(process.alive for process in processes)
    assert "prepared statement" not in logs
    assert "Traceback" not in logs, logs


@pytest.mark.quick
def test_killed_pooler_loses_and_doubles_nothing(
    environment: FaultEnvironment, pgbouncer: PgBouncer
) -> None:
    start_all(environment)
    environment.broker(reply_delay_ms=100)
    environment.quote()
    environment.operator.do("publish", feed=ACCOUNTS)
    environment.wait(lambda: environment.filled() >= ACCOUNTS // 10, "nothing is filled")
    pgbouncer.kill()
    scenario = Scenario(environment)
    assert scenario.at_fault.get("FILLED", 0) < ACCOUNTS
    time.sleep(1)  # statements fail meanwhile
    pgbouncer.start()
    environment.settle()
    scenario.end()
    all_ended(environment, ACCOUNTS, absent_at_most=scenario.in_flight)
    environment.quote()
    environment.operator.do("publish", feed=50)
    environment.settle()
    all_ended(environment, ACCOUNTS + 50, absent_at_most=scenario.in_flight)


def test_login_without_parameters_is_refused_by_name(
    environment: FaultEnvironment, pgbouncer: PgBouncer
) -> None:
    for change in ("RESET statement_timeout", "SET jit = on"):
        environment.ours.rows(f"ALTER ROLE trade IN DATABASE {NAME} {change}")
    pgbouncer.reconnect()
    worker = environment.fleet.worker(wait=False)
    told = (
        "The login trade of FILLCAST_TRADE_DATABASE_URL is not made for a transaction pooler:"
        " statement_timeout is 0, not 2400; jit is on, not off. Run `manage.py pooled_login`"
    )
    assert wait_until(lambda: told in worker.output(), 60), worker.output()[-2000:]
    assert not environment.fleet.has_lease(worker.pid)
    assert "statement_timeout is 0, not 2400" in command(environment, "trade", "doctor", "--json")
    prepare_logins(environment)
    pgbouncer.reconnect()
    environment.fleet.wait_for_lease(worker)  # it has tried again


def test_login_of_another_role_is_refused_by_name(environment: FaultEnvironment) -> None:
    web = environment.fleet.environ["FILLCAST_WEB_DATABASE_URL"]
    told = command(environment, "trade", "killswitch", "list", FILLCAST_TRADE_DATABASE_URL=web)
    assert "it is a member of ['fillcast_web'], not of fillcast_trade" in told


# Two threads, so that one statement is run in both server sessions.
PREPARE = """
import json
from concurrent.futures import ThreadPoolExecutor
from django.db import transaction
from common.sql import exchange, kept_plans, periodic_rows, rows
from execution.models import Order

def run():
    with transaction.atomic(), kept_plans():
        rows("SELECT 1 AS n", planned_once=True)
    periodic_rows("SELECT pg_sleep(0.002)")
    exchange([("SELECT 3 AS n", None), ("SELECT 4 AS n", None)])
    with transaction.atomic():
        found = sum(1 for _ in Order.objects.iterator(chunk_size=10))
        names = rows("SELECT name FROM pg_prepared_statements UNION SELECT name FROM pg_cursors")
    return found, len(names)

with ThreadPoolExecutor(4) as threads:
    found = {future.result() for future in [threads.submit(run) for _ in range(200)]}
print(json.dumps([*found]))
"""


@pytest.mark.quick
def test_nothing_is_left_in_a_session(environment: FaultEnvironment) -> None:
    assert script(environment, "trade", PREPARE) == [[0, 0]]


def test_doctor_finds_the_pooler_well(environment: FaultEnvironment) -> None:
    environment.fleet.worker(queues=EVERYTHING)
    told = command(environment, "trade", "doctor", "--json")
    assert "Sessions get the time-outs that they request" in told, told
    # The doctor's own time limit has not stayed in a session that others use.
    found = script(
        environment, "trade",
        "import json; from common.sql import rows;"
        "print(json.dumps({rows('SHOW statement_timeout')[0][0] for _ in range(20)}.pop()))",
    )  # fmt: skip
    assert found == "2400ms"


# Two threads of a web process, which both use the only server session, in turn.
TWO_TENANTS = """
import json
from concurrent.futures import ThreadPoolExecutor
from django.db import transaction
from common.sql import rows
from connections.models import ExecutionConnection
from users.models import User
from users.tenancy import acting_for, for_all_tenants, on_behalf_of

def facts():
    backend = rows("SELECT pg_backend_pid() AS pid")[0].pid
    owners = set(ExecutionConnection.objects.values_list("user_id", flat=True))
    return backend, sorted(owners), acting_for()

def as_user(pk):
    with on_behalf_of(User(pk=pk, is_active=True)):
        return facts()

first, second = (ThreadPoolExecutor(1) for _ in range(2))
found = []
for _ in range(10):
    found += [first.submit(as_user, IDS[0]).result(), second.submit(facts).result()]
    found += [second.submit(as_user, IDS[1]).result(), first.submit(facts).result()]
print(json.dumps(found))
"""


@pytest.mark.quick
def test_tenant_ends_with_the_transaction(
    environment: FaultEnvironment, pgbouncer: PgBouncer
) -> None:
    first = environment.ours.value("SELECT min(user_id) FROM connections_executionconnection")
    second = environment.ours.value(
        "INSERT INTO users_user SELECT (jsonb_populate_record(u, jsonb_build_object('id',"
        " (SELECT max(id) + 1 FROM users_user), 'username', 'second'))).* FROM users_user u"
        " WHERE id = %s RETURNING id",
        first,
    )
    environment.ours.rows(
        "UPDATE connections_executionconnection SET user_id = %s"
        " WHERE id IN (SELECT id FROM connections_executionconnection ORDER BY id LIMIT 10)",
        second,
    )
    pgbouncer.kill()
    pgbouncer.start(pool_size=1)
    try:
        found = script(environment, "web", f"IDS = {first, second}\n{TWO_TENANTS}")
    finally:
        pgbouncer.kill()
    assert len({backend for backend, _, _ in found}) == 1  # the same session for both
    assert [[owners, user] for _, owners, user in found] == 10 * [
        [[first], first], [[], None], [[second], second], [[], None],
    ]  # fmt: skip


CHANGE = """
import json
from django.db import transaction
from connections.models import TradingPreset
from common.sql import rows
with transaction.atomic():
    pid = rows("SELECT pg_backend_pid() AS pid")[0].pid
    TradingPreset.objects.filter(pk=PK).update(name=NEW)
print(json.dumps(pid))
"""


def test_trail_names_each_program(environment: FaultEnvironment, pgbouncer: PgBouncer) -> None:
    pgbouncer.kill()
    pgbouncer.start(pool_size=1)
    preset = environment.ours.value("SELECT min(id) FROM connections_tradingpreset")
    backends = set()
    for name in ("one", "two"):
        backends.add(script(environment, "trade", f"PK, NEW = {preset}, '{name}'\n{CHANGE}"))
        by_hand = (  # psql states its name; a program that states none inherits the last one
            "UPDATE connections_tradingpreset SET name = 'by hand %s' WHERE id = %s"
            " RETURNING pg_backend_pid()"
        )
        url = f"{pgbouncer.url('trade')}?application_name=psql"
        with psycopg.connect(url, autocommit=True) as session:
            (backend,) = session.execute((by_hand % (name, preset)).encode()).fetchone() or (0,)
        backends.add(backend)
    lines = environment.ours.rows(
        "SELECT context ->> 'program' AS program, login FROM common_trailline"
        " WHERE relation = 'connections_tradingpreset' ORDER BY id DESC LIMIT 4"
    )
    pgbouncer.kill()
    assert len(backends) == 1
    assert [line.program for line in lines] == 2 * ["database", "command:shell"]
    assert {line.login for line in lines} == {"trade/trade"}


PAPER = """
import asyncio, json
from brokers.paper.db_sessions import sessions
from brokers.paper.notifications import notifications, notify
from common.sql import rows
from ops.kill_switch_drill import _only_drill

def shown():
    with sessions.transaction() as session:
        names = ("lock_timeout", "statement_timeout", "enable_seqscan", "TimeZone")
        return [session.execute(f"SHOW {name}").fetchone()[0] for name in names]

def tell():
    with sessions.transaction() as session:
        notify(session)

async def listen():
    before, heard = await asyncio.to_thread(directly), notifications()
    await anext(heard)
    more = await asyncio.to_thread(directly) - before
    await asyncio.to_thread(tell)
    await asyncio.wait_for(anext(heard), 10)
    await heard.aclose()
    return more

def directly():
    return rows("SELECT count(*) AS n FROM pg_stat_activity WHERE usename = 'fillcast'")[0].n

LOCKS = (
    "SELECT DISTINCT usename FROM pg_locks JOIN pg_stat_activity USING (pid)"
    " WHERE locktype = 'advisory'"
)
with _only_drill():
    during = [row.usename for row in rows(LOCKS)]
plans = rows("SELECT current_setting('enable_seqscan') AS is_on")[0].is_on
print(json.dumps([shown(), plans, asyncio.run(listen()), during, rows(LOCKS)]))
"""


def test_what_needs_a_session_goes_past_the_pooler(environment: FaultEnvironment) -> None:
    shown, plans, listening, locking, left = script(environment, "trade", PAPER)
    assert shown == ["300ms", "4s", "off", "UTC"]  # of the paper broker's transactions
    assert plans == "on"  # and of no other
    assert listening == 1  # session of the login of DATABASE_URL
    assert locking == [NAME]
    assert left == []


NEW_USER = """
import json
from users.models import User
print(json.dumps(User.objects.create_user("tenant", password="correct horse 12").pk))
"""


def test_web_process_serves_pages_through_the_pool(
    environment: FaultEnvironment, pgbouncer: PgBouncer, tmp_path: Path
) -> None:
    script(environment, "owner", NEW_USER)
    with WebProcess(tmp_path / "web.log", **environ_of(environment, "web")) as web:
        assert web.browser().get("/readyz").status == 200
        browser = web.browser()
        assert browser.sign_in("tenant", "correct horse 12").status == 302
        for _ in range(5):
            assert browser.get("/accounts/").status == 200
        pgbouncer.kill()
        assert web.browser().get("/readyz").status == 503
        pgbouncer.start()
        answers = wait_until(lambda: browser.get("/accounts/").status == 200, 20)
        assert answers, (tmp_path / "web.log").read_text()[-3000:]
    assert 0 < sessions(environment)["web"] <= POOL_SIZE
