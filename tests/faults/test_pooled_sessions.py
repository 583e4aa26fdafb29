"""What a session of PgBouncer in transaction mode has and keeps: each is used by every process."""

import psycopg
import pytest

from ops.embedded.postgres import NAME
from tests.faults.pgbouncer import program
from tests.faults.pooled import PooledEnvironment
from tests.faults.process_fleet import EVERYTHING

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(program() is None, reason="needs the package pgbouncer"),
]


# Two threads, so that one statement is run in both server sessions.
PREPARE = """
import json
from concurrent.futures import ThreadPoolExecutor
from django.db import transaction
from common.db.sql import exchange, kept_plans, periodic_rows, rows
from execution.models import Order

def run():
    with transaction.atomic(), kept_plans():
        rows("SELECT 1 AS n", planned_once=True)
    periodic_rows("SELECT pg_sleep(0.002)")
    exchange([("SELECT 3 AS n", None), ("SELECT 4 AS n", None)])
    with transaction.atomic():
        found = sum(1 for _ in Order.objects.iterator(chunk_size=10))
        names = rows("SELECT name FROM pg_prepared_statements UNION SELECT name FROM pg_cursors")
        [(scans,)] = rows("SELECT current_setting('enable_seqscan') AS scans")
    return found, len(names), scans

with ThreadPoolExecutor(4) as threads:
    found = {future.result() for future in [threads.submit(run) for _ in range(200)]}
print(json.dumps([*found]))
"""


def test_nothing_is_left_in_a_session(pooled: PooledEnvironment) -> None:
    assert pooled.script("trade", PREPARE) == [[0, 0, "on"]]


def test_doctor_finds_the_pooler_well(pooled: PooledEnvironment) -> None:
    pooled.fleet.worker(queues=EVERYTHING)
    reported = pooled.command("trade", "doctor", "--json")
    assert "Sessions get the time-outs that they request" in reported, reported
    # The doctor's own time limit has not stayed in a session that others use.
    found = pooled.script("trade",
        "import json; from common.db.sql import rows;"
        "print(json.dumps({rows('SHOW statement_timeout')[0][0] for _ in range(20)}.pop()))",
    )  # fmt: skip
    assert found == "2400ms"


# Two threads of a web process, which both use the only server session, in turn.
TWO_TENANTS = """
import json
from concurrent.futures import ThreadPoolExecutor
from django.db import transaction
from common.db.sql import rows
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
def test_tenant_ends_with_the_transaction(pooled: PooledEnvironment) -> None:
    first = pooled.ours.value("SELECT min(user_id) FROM connections_executionconnection")
    second = pooled.ours.value(
        "INSERT INTO users_user SELECT (jsonb_populate_record(u, jsonb_build_object('id',"
        " (SELECT max(id) + 1 FROM users_user), 'username', 'second'))).* FROM users_user u"
        " WHERE id = %s RETURNING id",
        first,
    )
    pooled.ours.rows(
        "UPDATE connections_executionconnection SET user_id = %s"
        " WHERE id IN (SELECT id FROM connections_executionconnection ORDER BY id LIMIT 10)",
        second,
    )
    pooled.bouncer.kill()
    pooled.bouncer.start(pool_size=1)
    try:
        found = pooled.script("web", f"IDS = {first, second}\n{TWO_TENANTS}")
    finally:
        pooled.bouncer.kill()
    assert len({backend for backend, _, _ in found}) == 1  # the same session for both
    assert [[owners, user] for _, owners, user in found] == 10 * [
        [[first], first], [[], None], [[second], second], [[], None],
    ]  # fmt: skip


CHANGE = """
import json
from django.db import transaction
from connections.models import TradingPreset
from common.db.sql import rows
with transaction.atomic():
    pid = rows("SELECT pg_backend_pid() AS pid")[0].pid
    TradingPreset.objects.filter(pk=PK).update(name=NEW)
print(json.dumps(pid))
"""


def test_trail_names_each_program(pooled: PooledEnvironment) -> None:
    pooled.bouncer.kill()
    pooled.bouncer.start(pool_size=1)
    preset = pooled.ours.value("SELECT min(id) FROM connections_tradingpreset")
    backends = set()
    for name in ("one", "two"):
        backends.add(pooled.script("trade", f"PK, NEW = {preset}, '{name}'\n{CHANGE}"))
        by_hand = (  # psql states its name; a program that states none inherits the last one
            "UPDATE connections_tradingpreset SET name = 'by hand %s' WHERE id = %s"
            " RETURNING pg_backend_pid()"
        )
        url = f"{pooled.bouncer.url('trade')}?application_name=psql"
        with psycopg.connect(url, autocommit=True) as session:
            (backend,) = session.execute((by_hand % (name, preset)).encode()).fetchone() or (0,)
        backends.add(backend)
    lines = pooled.ours.rows(
        "SELECT context ->> 'program' AS program, login FROM common_trailline"
        " WHERE relation = 'connections_tradingpreset' ORDER BY id DESC LIMIT 4"
    )
    pooled.bouncer.kill()
    assert len(backends) == 1
    assert [line.program for line in lines] == 2 * ["database", "command:shell"]
    assert {line.login for line in lines} == {"trade/trade"}


PAPER = """
import asyncio, json
from brokers.paper.db_sessions import sessions
from brokers.paper.notifications import notifications, notify
from common.db.sql import rows
from ops.kill_switch_drill import _only_drill

def shown():
    with sessions.transaction() as session:
        names = ("lock_timeout", "statement_timeout", "enable_seqscan", "TimeZone")
        return [session.execute(f"SHOW {name}").fetchone()[0] for name in names]

def send():
    with sessions.transaction() as session:
        notify(session)

async def listen():
    before, stream = await asyncio.to_thread(directly), notifications()
    await anext(stream)
    more = await asyncio.to_thread(directly) - before
    await asyncio.to_thread(send)
    await asyncio.wait_for(anext(stream), 10)
    await stream.aclose()
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


def test_what_needs_a_session_goes_past_the_pooler(pooled: PooledEnvironment) -> None:
    shown, plans, listening, locking, left = pooled.script("trade", PAPER)
    assert shown == ["300ms", "4s", "off", "UTC"]  # of the paper broker's transactions
    assert plans == "on"  # and of no other
    assert listening == 1  # session of the login of DATABASE_URL
    assert locking == [NAME]
    assert left == []
