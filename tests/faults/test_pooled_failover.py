"""PgBouncer goes on to a server that lacks the newest rows, while its clients stay connected."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import namedtuple_row

from ops.embedded.postgres import NAME
from tests.faults import postgres_clusters
from tests.faults.pgbouncer import program
from tests.faults.pooled import PooledEnvironment
from tests.faults.process_fleet import Process, wait_until

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(program() is None, reason="needs the package pgbouncer"),
]
ENTRIES = 50
STALE = "stale"
BLIND_SECONDS = 3.0

# A worker whose detector runs when the test says so: claims come before its next run. Nor does it
# check new connections, which clients of a pooler need not open.
WORKER = """
import time
from pathlib import Path
from django.db.backends.signals import connection_created
from execution import startup
from execution.disaster_recovery import restore_detector

folder = Path(FOLDER)
restore_detector.CHECK_SECONDS = 3600.0
startup.start_trading("execution+exits")
connection_created.disconnect(dispatch_uid="execution.restore_detector")
while not (folder / "switch").exists():
    restore_detector.check()
    time.sleep(0.1)
(folder / "unchecked").touch()
while not (folder / "check").exists():
    time.sleep(0.05)
restore_detector.check()
(folder / "checked").touch()
time.sleep(3600)
"""


@pytest.fixture
def switched_back(pooled: PooledEnvironment) -> Iterator[PooledEnvironment]:
    yield pooled
    pooled.bouncer.kill()  # the next test starts it with its own settings
    pooled.fleet.end_all()
    pooled.ours.rows("SELECT 1")


def test_stale_server_behind_the_pooler_sends_nothing_again(
    switched_back: PooledEnvironment, tmp_path: Path
) -> None:
    pooled = switched_back
    worker = started(pooled, tmp_path)
    pooled.quote()
    stale = copied_before_sending(pooled, tmp_path / "backup")
    pooled.wait(lambda: pooled.filled() == ENTRIES, worker.output())
    sent = orders_at_broker(pooled)
    say(tmp_path, "switch", "unchecked")

    pooled.bouncer.switch_to(STALE)
    time.sleep(BLIND_SECONDS)  # due orders are polled, and the detector does not run
    assert orders_at_broker(pooled) == sent, "entries were sent again"
    assert states(stale) == {("PENDING", "RESTORE_CHECK"): ENTRIES}
    assert "the database may have lost rows; nothing is claimed" in worker.output()

    say(tmp_path, "check", "checked")
    assert states(stale) == {("EXPIRED", "RESTORED_UNSENT"): ENTRIES}
    assert read(stale, "SELECT cause FROM connections_epoch WHERE number = 2") == [("BEHIND",)]
    assert orders_at_broker(pooled) == sent


def started(pooled: PooledEnvironment, folder: Path) -> Process:
    """Start the worker through the pooler; return it when it has its lease."""
    line = ("manage.py", "shell", "--no-imports", "-c", f"FOLDER = {str(folder)!r}\n{WORKER}")
    worker = Process.python("worker", line, pooled.environ_of("trade"), folder / "guarded.log")
    pooled.fleet.processes["worker"] = worker
    pooled.fleet.wait_for_lease(worker)
    return worker


def copied_before_sending(pooled: PooledEnvironment, backup: Path) -> str:
    """Publish, and copy the database before anything is sent; return the copy's URL."""
    with psycopg.connect(pooled.ours.url) as session:  # until it ends no order can be claimed
        session.execute("SELECT FROM connections_connectionlock FOR UPDATE")
        pooled.operator.do("publish", feed=ENTRIES)
        url = pooled.ours.url.removesuffix(NAME) + STALE
        postgres_clusters.dump(backup, pooled.ours.url)
        postgres_clusters.restore(backup, url)
        done = pooled.command("trade", "pooled_login", DATABASE_URL=url)
        assert "has its parameters" in done, done
    assert states(url) == {("PENDING", ""): ENTRIES}
    return url


def say(folder: Path, word: str, answer: str) -> None:
    """Let the worker go on, and wait until it has."""
    (folder / word).touch()
    wait_until((folder / answer).exists, 20, f"the worker does not answer {word}")


def orders_at_broker(pooled: PooledEnvironment) -> int:
    return int(pooled.books.value("SELECT count(*) FROM paper_order"))


def states(url: str) -> dict[tuple[str, str], int]:
    found = read(url, "SELECT status, reason, count(*) FROM execution_order GROUP BY 1, 2")
    return {(status, reason): count for status, reason, count in found}


def read(url: str, statement: str) -> list[Any]:
    with psycopg.connect(url, row_factory=namedtuple_row) as session:
        return session.execute(statement.encode()).fetchall()
