"""The many threads of a trading process get along with few database sessions."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections

from common.db import shared_sessions
from common.db.idle_sessions import IdleSessions
from common.db.shared_sessions import base
from execution import startup
from execution.runtime import trading_runtime
from execution.runtime.trading_runtime import BackgroundJob
from tests.execution.trading_process import running
from tests.until import until

pytestmark = pytest.mark.django_db(transaction=True)
SECONDS = 4.0  # every job but those of each 20 s has run
UNTIL_IDLE = 60.0  # seconds until a thread gives one back, on a machine where all are in use
SHARE = 3  # of its threads: one has a session, even on a machine where each job takes long
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
WITH_SETTINGS = (0, 0, "enable_seqscan,jit,max_parallel_workers_per_gather,plan_cache_mode", 0, 0)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[int]]:
    """The sessions of the threads that the test starts. They share, as in a worker."""
    monkeypatch.setitem(connections.settings["default"], "ENGINE", "common.db.shared_sessions")
    pids: set[int] = set()
    connect = base.DatabaseWrapper.connect

    def noted(self: base.DatabaseWrapper) -> None:
        connect(self)
        pids.add(self.connection.info.backend_pid)

    monkeypatch.setattr(base.DatabaseWrapper, "connect", noted)
    yield pids
    shared_sessions.close_idle()


ROLE = "exits+execution+maintenance"


def test_no_job_leaves_anything_in_its_session(opened: set[int], settings: Any) -> None:
    """Each job runs once, one after another. The next test has all of them run at once."""
    before = trading_runtime._runtime
    trading_runtime.start_runtime("test")
    try:
        with ThreadPoolExecutor(1) as threads:
            for job in startup._jobs_of_role(ROLE, exits_only=False):
                threads.submit(run_once, job).result(UNTIL_IDLE)
                left = threads.submit(what_is_left_in, base.SESSIONS).result(UNTIL_IDLE)
                assert left <= {NOTHING}, f"{job.name} left something in its session"
            assert left == {NOTHING}
            repeated = threads.submit(what_is_left_behind, base.REPEATED_SESSIONS).result()
            threads.submit(connections.close_all).result()
        assert repeated == {WITH_SETTINGS}
    finally:
        trading_runtime.stop_runtime()
        trading_runtime._runtime = before


def run_once(job: BackgroundJob) -> None:
    """Run a job as its thread does."""
    shared_sessions.be_patient(UNTIL_IDLE)
    try:
        job.run()
    finally:
        shared_sessions.give_back()


@pytest.mark.processes
def test_process_with_all_jobs_needs_few_sessions_and_leaves_nothing_in_them(
    opened: set[int],
) -> None:
    before = {*threading.enumerate()}
    with running(ROLE, SECONDS):
        threads = {*threading.enumerate()} - before
        assert len(threads) > 30
        time.sleep(SECONDS)
        assert 2 <= len(opened) <= len(threads) / SHARE
        with ThreadPoolExecutor(1) as own_thread:  # this one's connection does not share
            left_behind = own_thread.submit(what_is_left_behind, base.SESSIONS).result()
            repeated = own_thread.submit(what_is_left_behind, base.REPEATED_SESSIONS).result()
        assert left_behind == {NOTHING}
        assert repeated == {WITH_SETTINGS}


def what_is_left_behind(idle: IdleSessions) -> set[tuple[Any, ...]]:
    """The same; wait for the first idle session."""
    found: set[tuple[Any, ...]] = set()

    def look() -> bool:
        found.update(what_is_left_in(idle))
        return bool(found)

    until(look, seconds=UNTIL_IDLE)
    return found


def what_is_left_in(idle: IdleSessions) -> set[tuple[Any, ...]]:
    """Return what sessions that no job uses now still have of the threads that used them."""
    wrapper = connections["default"]
    assert isinstance(wrapper, base.DatabaseWrapper)
    taken, found = [], []
    while (session := idle.take(wrapper._where())) is not None:
        taken.append(session)
    for session in taken:
        found.append(session.execute(LEFT_BEHIND).fetchone())
        idle.give_back(wrapper._where(), session)
    return {row for row in found if row is not None}
