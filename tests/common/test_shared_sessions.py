"""Threads of a process share its database sessions, and keep none that they do not use."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, connections, transaction
from django.db.backends.signals import connection_created

from brokers.call_runner import BrokerCallRunner
from common.db import idle_sessions, shared_sessions
from common.db.idle_sessions import IdleSessions
from common.db.shared_sessions import base
from common.db.sql import periodic_rows, rows, run
from config.installation import ROOT
from tests.until import until

pytestmark = pytest.mark.django_db(transaction=True)
ENGINE = "common.db.shared_sessions"
SECONDS = 240.0


@pytest.fixture(autouse=True)
def sharing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Let threads that this test starts share; return the sessions that they opened."""
    monkeypatch.setitem(connections.settings["default"], "ENGINE", ENGINE)
    opened: list[int] = []

    def note(sender: Any, connection: Any, **_: Any) -> None:
        if sender is base.DatabaseWrapper:
            opened.append(connection.connection.info.backend_pid)

    connection_created.connect(note)
    yield opened
    connection_created.disconnect(note)
    shared_sessions.close_idle()


def on_thread(work: Callable[[], Any]) -> Any:
    """Run work on a thread of its own, which gives its session back; return the result."""
    results: list[Any] = []

    def loop() -> None:
        try:
            results.append(work())
        finally:
            shared_sessions.give_back()

    thread = threading.Thread(target=loop)
    thread.start()
    thread.join(SECONDS)
    assert results, "the thread failed; see its traceback"
    return results[0]


def session() -> int:
    """Return the process id of this thread's session."""
    return int(rows("SELECT pg_backend_pid() AS pid")[0].pid)


SCANS = "SELECT pg_backend_pid() AS pid, current_setting('enable_seqscan') AS scans"


def repeat() -> tuple[int, str]:
    """Return the process id of a repeated statement's session, and whether it scanned tables."""
    (row,) = periodic_rows(SCANS)
    return int(row.pid), str(row.scans)


def test_threads_use_one_session_in_turn(sharing: list[int]) -> None:
    pids = {on_thread(session) for _ in range(5)}
    assert sharing == [*pids]  # what runs at a session's start has run once


def test_thread_that_gives_its_session_back_takes_it_again(sharing: list[int]) -> None:
    def twice() -> tuple[int, int]:
        first = session()
        shared_sessions.give_back()
        return first, session()

    first, second = on_thread(twice)
    assert first == second
    assert len(sharing) == 1


def test_threads_at_the_same_time_have_sessions_of_their_own() -> None:
    both, pids = threading.Barrier(2, timeout=SECONDS), []

    def meet() -> None:
        pids.append(session())
        both.wait()
        shared_sessions.give_back()

    threads = [threading.Thread(target=meet) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert len({*pids}) == 2


def test_jobs_take_turns_and_others_wait_for_none() -> None:
    """Also beside idle sessions, which so grow old and are closed."""
    held, may_end = threading.Semaphore(0), threading.Event()

    def hold() -> int:
        shared_sessions.be_patient(SECONDS)
        session()
        held.release()
        assert may_end.wait(SECONDS)
        return 0

    def job() -> float:
        shared_sessions.be_patient(SECONDS)
        began = time.monotonic()
        session()
        return time.monotonic() - began

    def use_at_once() -> int:
        session()
        return together.wait()

    together = threading.Barrier(3, timeout=SECONDS)
    with ThreadPoolExecutor(6) as threads:
        for spare in [threads.submit(on_thread, use_at_once) for _ in range(3)]:
            spare.result(SECONDS)
        holders = [threads.submit(on_thread, hold) for _ in range(3)]
        assert all(held.acquire(timeout=SECONDS) for _ in range(3))
        waiting = threads.submit(on_thread, job)
        until(lambda: base.TURNS.waiting == 1)
        assert on_thread(session)  # a task
        assert not waiting.done()
        may_end.set()
        assert waiting.result(SECONDS) < SECONDS
        assert [holder.result(SECONDS) for holder in holders] == [0, 0, 0]


def test_turn_ends_with_a_session_that_is_closed_or_not_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def close() -> None:
        shared_sessions.be_patient(SECONDS)
        session()
        connections["default"].close()

    def fail() -> None:
        shared_sessions.be_patient(SECONDS)
        with pytest.raises(DatabaseError):
            session()

    for _ in range(3):
        on_thread(close)
        with monkeypatch.context() as unreachable:
            unreachable.setitem(connections.settings["default"], "PORT", "1")
            on_thread(fail)

    def job() -> int:
        shared_sessions.be_patient(SECONDS)
        return session()

    began = time.monotonic()
    assert on_thread(job)
    assert time.monotonic() - began < SECONDS / 2


def test_thread_that_waits_for_brokers_leaves_its_session_to_others() -> None:
    """Of the jobs of a process with many sessions at brokers most wait for an answer."""
    answer, reading = threading.Event(), threading.Event()

    async def hung() -> str:
        reading.set()
        await asyncio.to_thread(answer.wait, SECONDS)
        return "late"

    def read() -> list[tuple[Any, Any]]:
        session()
        answers: BrokerCallRunner[str] = BrokerCallRunner(
            asyncio.run, max_calls=1, max_per_host=1, seconds=lambda: SECONDS,
            before_wait=shared_sessions.give_back,
        )  # fmt: skip
        answers.start([(SimpleNamespace(broker_host="away"), hung)])
        return answers.group(SECONDS)

    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(read)
        assert reading.wait(SECONDS)
        until(lambda: len(base.SESSIONS) == 1)
        answer.set()
        assert [found for _, found in waiting.result()] == ["late"]


def test_thread_with_a_session_of_its_own_does_not_share_it() -> None:
    def keep() -> tuple[int, int]:
        shared_sessions.keep_own()
        before = session()
        shared_sessions.give_back()
        return before, session()

    shared = on_thread(session)
    before, after = on_thread(keep)
    assert before == after != shared
    assert len(base.SESSIONS) == 1


def test_open_transaction_keeps_its_session() -> None:
    def write() -> tuple[int, int, int]:
        with transaction.atomic():
            run("CREATE TEMPORARY TABLE of_transaction (id int) ON COMMIT DROP")
            before = session()
            shared_sessions.give_back()
            run("INSERT INTO of_transaction VALUES (1)")
            return before, session(), rows("SELECT count(*) AS n FROM of_transaction")[0].n

    before, after, count = on_thread(write)
    assert (before, count) == (after, 1)


def test_next_thread_begins_without_the_former_ones_state() -> None:
    """Neither its transaction, its hooks, nor its error."""

    def fail() -> int:
        pid = session()
        with suppress(DatabaseError), transaction.atomic():
            transaction.on_commit(lambda: pytest.fail("of another thread's transaction"))
            run("SELECT 1 / 0")
        return pid

    def succeed() -> tuple[int, list[int]]:
        done: list[int] = []
        with transaction.atomic():
            transaction.on_commit(lambda: done.append(session()))
        assert connections["default"].get_autocommit()
        return session(), done

    pid = on_thread(fail)
    assert on_thread(succeed) == (pid, [pid])


def test_repeated_statements_have_a_session_of_their_own(sharing: list[int]) -> None:
    pid, scans = on_thread(repeat)
    assert scans == "off"
    assert on_thread(session) != pid  # whose sequential scans are as usual
    assert on_thread(repeat) == (pid, "off")
    assert len(sharing) == 2


def test_thread_with_a_session_repeats_statements_in_that() -> None:
    def work() -> list[Any]:
        return [session(), repeat(), rows(SCANS)[0].scans]

    pid, repeated, scans = on_thread(work)
    assert repeated == (pid, "off")
    assert scans == "on"  # the setting was for that statement only


@pytest.mark.parametrize("patience", [0.0, SECONDS])
def test_thread_does_not_wait_for_a_repeated_statement_that_hangs(patience: float) -> None:
    """It runs its own in an ordinary session, whether it is a job or more urgent than that."""
    held, may_end = threading.Event(), threading.Event()

    def hang() -> int:
        with shared_sessions.repeated_statements():
            held.set()
            assert may_end.wait(SECONDS)
        return 0

    def go_on() -> tuple[int, str, int]:
        shared_sessions.be_patient(patience)
        return *repeat(), session()

    with ThreadPoolExecutor(1) as other:
        hanging = other.submit(hang)
        assert held.wait(SECONDS)
        pid, scans, ordinary = on_thread(go_on)
        may_end.set()
        hanging.result(SECONDS)
    assert (pid, scans) == (ordinary, "off")


def test_thread_with_a_session_of_its_own_repeats_statements_in_it() -> None:
    def work() -> tuple[int, int]:
        shared_sessions.keep_own()
        found = repeat()[0], session()
        connections["default"].close()
        return found

    repeated, own = on_thread(work)
    assert repeated == own


def test_failed_repeated_statement_leaves_the_session_to_others() -> None:
    def fail() -> int:
        shared_sessions.be_patient(SECONDS)
        pid, _ = repeat()
        with pytest.raises(DatabaseError):
            periodic_rows("SELECT 1 / 0")
        assert connections["default"].connection is None
        assert base.REPEATED_TURNS.taken == 0
        return pid

    assert on_thread(fail) == on_thread(repeat)[0]


def test_session_without_the_settings_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(base.PLAN_SETTINGS, "no_such_setting", "off")
    with pytest.raises(DatabaseError), ThreadPoolExecutor(1) as other:
        other.submit(repeat).result(SECONDS)
    assert len(base.REPEATED_SESSIONS) == base.REPEATED_TURNS.taken == 0


def test_session_in_a_transaction_is_never_passed_on() -> None:
    idle, where = IdleSessions(keep=9, seconds=SECONDS), {"one": 1}
    with raw() as connection:
        connection.autocommit = False
        connection.execute("SELECT 1")
        idle.give_back(where, connection)
        assert connection.closed
        assert idle.take(where) is None


def test_session_that_the_server_ended_is_not_used_again(sharing: list[int]) -> None:
    pid = on_thread(session)
    assert rows("SELECT pg_terminate_backend(%s, 5000) AS done", (pid,))[0].done
    assert on_thread(session) != pid
    assert len(sharing) == 2  # and the restore detector checks the new one


def test_session_to_another_place_is_not_used() -> None:
    idle = IdleSessions(keep=9, seconds=SECONDS)
    with raw() as connection:
        idle.give_back({"host": "a"}, connection)
        assert idle.take({"host": "b"}) is None
        assert connection.closed


def test_last_session_given_back_comes_first_and_unused_ones_are_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    idle, where, now = IdleSessions(keep=1, seconds=0.3), {"one": 1}, [1000.0]
    monkeypatch.setattr(idle_sessions, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with raw() as first, raw() as second, raw() as third:
        for connection in (first, second, third):
            idle.give_back(where, connection)
        assert idle.take(where) is third
        now[0] += 1
        until(lambda: first.closed)
        assert not second.closed  # one is kept
        idle.give_back(where, third)
        until(lambda: second.closed)
        now[0] += 3600
        until(lambda: not idle._is_closing)
        assert idle.take(where) is third
    idle.close()


def test_thread_that_closes_unused_sessions_ends_with_them() -> None:
    idle = IdleSessions(keep=0, seconds=60)
    before = threading.enumerate()  # earlier tests may have left such a thread
    with raw() as connection:
        idle.give_back({}, connection)
        started = [t for t in threading.enumerate() if t not in before]
        (closing,) = [t for t in started if t.name == "idle-sessions"]
        idle.close()
        assert connection.closed
        closing.join(SECONDS)
        assert not closing.is_alive()


def test_close_ends_the_session(sharing: list[int]) -> None:
    """As before: an error's way to another session."""

    def close() -> tuple[int, int]:
        before = session()
        connections["default"].close()
        return before, session()

    on_thread(close)
    assert len(base.SESSIONS) == 1
    assert len(sharing) == 2


FORKED = """
import os, django
django.setup()
from django.db import connection
from common.db import shared_sessions
from common.db.shared_sessions.base import SESSIONS
def pid():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]
mine = pid()
shared_sessions.give_back()
if (child := os.fork()) == 0:
    os._exit(pid() == mine)
assert os.waitpid(child, 0)[1] == 0
assert pid() == mine
"""


def test_forked_process_starts_with_none() -> None:
    env = {**os.environ, "FILLCAST_DB_ROLE": "trade"}
    subprocess.run([sys.executable, "-c", FORKED], cwd=ROOT, env=env, check=True, timeout=60)


def raw() -> psycopg.Connection[Any]:
    """Return a new session."""
    parameters = connections["default"].get_connection_params()
    return psycopg.connect(
        host=parameters["host"], port=parameters["port"], user=parameters["user"],
        password=parameters["password"], dbname=parameters["dbname"], autocommit=True,
    )  # fmt: skip
