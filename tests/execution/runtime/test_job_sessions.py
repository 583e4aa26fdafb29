"""The jobs of a trading process get along with few threads, and leave nothing in their sessions."""

import threading
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
from django.db import OperationalError, connection, connections
from django.db.backends.signals import connection_created

from common.db.sql import rows
from common.process.jobs import NO_LIMIT, Job, Pool
from execution import startup
from execution.job_table import jobs_of_role
from execution.runtime import trading_runtime
from tests.execution.trading_process import running
from tests.until import until

pytestmark = pytest.mark.django_db(transaction=True)
ROLE = "exits+execution+maintenance"
SECONDS = 4.0  # by then most jobs have run more than once
# Of all threads: lease, settings, reports, the pools with what waits at the same time, and this.
MOST_SESSIONS = 14
MOST_JOBS = 40  # 35 are aimed at: five more wait for brokers or slots, so none is a step of another
LEFT_BEHIND = """
SELECT (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
  (SELECT count(*) FROM pg_listening_channels()),
  (SELECT coalesce(string_agg(name, ',' ORDER BY name), '') FROM pg_settings
   -- The check of the audit trail sets two for its transaction. With it their values end, and not
   -- this source.
   WHERE source = 'session' AND NOT (setting = boot_val
     AND name IN ('transaction_isolation', 'transaction_read_only'))),
  (SELECT count(*) FROM pg_class WHERE relpersistence = 't'),
  (SELECT count(*) FROM pg_cursors)
"""
NOTHING = (0, 0, "", 0, 0)


@pytest.fixture
def opened() -> Iterator[set[int]]:
    """The sessions that the threads of this process open."""
    pids: set[int] = set()

    def note(connection: Any, **_: Any) -> None:
        pids.add(connection.connection.info.backend_pid)

    connection_created.connect(note)
    yield pids
    connection_created.disconnect(note)


def test_no_job_leaves_anything_in_its_session() -> None:
    before = trading_runtime._runtime
    trading_runtime.start_runtime("test")
    left: dict[str, Any] = {}
    try:
        for job in jobs_of_role(ROLE):
            thread = threading.Thread(target=run_and_look, args=(job, left))
            thread.start()
            thread.join(60)
    finally:
        trading_runtime.stop_runtime()
        trading_runtime._runtime = before
    assert left == dict.fromkeys((job.name for job in jobs_of_role(ROLE)), NOTHING)


def run_and_look(job: Job, left: dict[str, Any]) -> None:
    """Run a job as its thread does; note what its session has then."""
    try:
        job.run()
        with connection.cursor() as cursor:
            cursor.execute(LEFT_BEHIND)
            left[job.name] = cursor.fetchone()
    finally:
        connections.close_all()


@pytest.mark.processes
def test_process_with_all_jobs_needs_few_threads_and_sessions(opened: set[int]) -> None:
    with running(ROLE, 30) as present:
        until(lambda: sum(one.has_run for one in present.jobs._jobs) > 20)
        time.sleep(SECONDS)
        live = rows("SELECT pid FROM pg_stat_activity WHERE pid = ANY(%s)", ([*opened],))
        assert 2 <= len(live) <= MOST_SESSIONS
        names = {thread.name for thread in threading.enumerate()}
        assert {"scheduler", *(pool.value[0] for pool in Pool)} <= names


def test_processes_have_no_more_jobs_than_people_can_know() -> None:
    roles = (ROLE, "sessions", "prices")
    names = {job.name for role in roles for job in jobs_of_role(role, exits_only=role == "prices")}
    of_runtime = {"process upkeep", "open work"}
    assert len(names | of_runtime) <= MOST_JOBS


def test_only_a_job_that_may_run_for_ever_has_no_limit() -> None:
    """It polls for as long as there is a bot: that is no hang."""
    assert [job.name for job in jobs_of_role(ROLE) if job.limit == NO_LIMIT] == ["telegram bots"]


def test_session_of_a_busy_task_thread_is_checked_once_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each check is one more statement before the next one."""
    now, session = 1_000.0, cast(Any, connection)
    monkeypatch.setattr(startup, "machine_time", lambda: now)
    monkeypatch.setattr(startup, "_session_checks", threading.local())

    def asks_first() -> bool:
        rows("SELECT 1 AS one")
        session.health_check_done = True
        startup.on_task_end()
        return not session.health_check_done

    assert [asks_first() for _ in range(3)] == [True, False, False]
    now += startup.SESSION_CHECK_SECONDS
    assert asks_first()


def test_broken_session_is_closed_with_its_task() -> None:
    rows("SELECT 1 AS one")
    startup.on_task_end()  # so that no check is due
    rows("SELECT 1 AS one")
    broken = connection.connection
    broken.close()
    with pytest.raises(OperationalError):
        rows("SELECT 1 AS one")
    startup.on_task_end()
    assert [row.one for row in rows("SELECT 1 AS one")] == [1]
    assert connection.connection is not broken
