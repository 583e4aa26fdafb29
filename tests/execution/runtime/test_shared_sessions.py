"""The many threads of a trading process get along with few database sessions."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections

from common import shared_sessions
from common.idle_sessions import IdleSessions
from common.shared_sessions import base
from tests.execution.trading_process import running
from tests.paper.broker_process import until

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
    monkeypatch.setitem(connections.settings["default"], "ENGINE", "common.shared_sessions")
    pids: set[int] = set()
    connect = base.DatabaseWrapper.connect

    def noted(self: base.DatabaseWrapper) -> None:
        connect(self)
        pids.add(self.connection.info.backend_pid)

    monkeypatch.setattr(base.DatabaseWrapper, "connect", noted)
    yield pids
    shared_sessions.close_idle()


def test_process_with_all_jobs_needs_few_sessions_and_leaves_nothing_in_them(
    opened: set[int],
) -> None:
    before = {*threading.enumerate()}
    with running("exits+execution+maintenance", SECONDS):
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
    """Return what idle sessions still have of the threads that used them; wait for the first."""
    wrapper = connections["default"]
    assert isinstance(wrapper, base.DatabaseWrapper)
    taken, found = [], []

    def take() -> bool:
        """Take those that no job uses at this moment."""
        while (session := idle.take(wrapper._where())) is not None:
            taken.append(session)
        return bool(taken)

    until(take, UNTIL_IDLE)
    for session in taken:
        found.append(session.execute(LEFT_BEHIND).fetchone())
        idle.give_back(wrapper._where(), session)
    return {row for row in found if row is not None}
