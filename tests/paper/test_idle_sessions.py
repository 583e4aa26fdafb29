"""The paper broker's idle sessions: taken by the next caller, closed once unused for long."""

import os
import threading
from types import SimpleNamespace

import pytest

from brokers.paper import idle_sessions
from brokers.paper.idle_sessions import IdleSessions
from common.db.sql import rows
from tests.database_sessions import raw
from tests.until import until

pytestmark = pytest.mark.django_db(transaction=True)
SECONDS = 240.0


def test_session_in_a_transaction_is_never_passed_on() -> None:
    idle, where = IdleSessions(seconds=SECONDS), {"one": 1}
    with raw() as connection:
        connection.autocommit = False
        connection.execute("SELECT 1")
        idle.give_back(where, connection)
        assert connection.closed
        assert idle.take(where) is None


def test_session_to_another_place_is_not_used() -> None:
    idle = IdleSessions(seconds=SECONDS)
    with raw() as connection:
        idle.give_back({"host": "a"}, connection)
        assert idle.take({"host": "b"}) is None
        assert connection.closed


def test_last_session_given_back_comes_first_and_unused_ones_are_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    idle, where, now = IdleSessions(seconds=0.3), {"one": 1}, [1000.0]
    monkeypatch.setattr(idle_sessions, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with raw() as first, raw() as second, raw() as third:
        for connection in (first, second, third):
            idle.give_back(where, connection)
        assert idle.take(where) is third
        now[0] += 1
        until(lambda: first.closed)
        until(lambda: second.closed)
        idle.give_back(where, third)
        assert idle.take(where) is third
    idle.close()


def test_thread_that_closes_unused_sessions_ends_with_them() -> None:
    idle = IdleSessions(seconds=60)
    before = threading.enumerate()  # earlier tests may have left such a thread
    with raw() as connection:
        idle.give_back({}, connection)
        started = [t for t in threading.enumerate() if t not in before]
        (closing,) = [t for t in started if t.name == "idle-sessions"]
        idle.close()
        assert connection.closed
        closing.join(SECONDS)
        assert not closing.is_alive()


def test_session_that_the_server_ended_is_not_used_again() -> None:
    idle = IdleSessions(seconds=SECONDS)
    with raw() as connection:
        idle.give_back({}, connection)
        pid = connection.info.backend_pid
        assert rows("SELECT pg_terminate_backend(%s, 5000) AS done", (pid,))[0].done
        assert idle.take({}) is None
        assert connection.closed


def test_forked_process_starts_with_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """It neither uses nor closes what its parent has."""
    idle = IdleSessions(seconds=SECONDS)
    with raw() as connection:
        idle.give_back({}, connection)
        monkeypatch.setattr(idle_sessions, "os", SimpleNamespace(getpid=lambda: os.getpid() + 1))
        assert idle.take({}) is None
        assert not connection.closed
