"""A database session that is used again has nothing left of its former use."""

import threading

import psycopg
import pytest
from django.db import connection

from common.sql import rows, run

pytestmark = pytest.mark.django_db(transaction=True)


def session() -> int:
    """The server's process behind the connection."""
    return int(rows("SELECT pg_backend_pid() AS pid")[0].pid)


def test_closed_connection_leaves_its_session_to_the_next_one() -> None:
    before = session()
    run("SET lock_timeout = '7s'")
    run("CREATE TEMPORARY TABLE leftover (id int)")
    run("SELECT pg_advisory_lock(77)")
    run("LISTEN leftover")
    raw = connection.connection
    connection.close()
    assert raw.closed
    with pytest.raises(psycopg.OperationalError, match="closed"):
        raw.execute("SELECT 1")

    assert session() == before
    assert rows("SHOW lock_timeout")[0].lock_timeout != "7s"
    assert rows("SELECT to_regclass('leftover') AS found")[0].found is None
    assert rows("SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory'")[0].n == 0
    assert rows("SELECT pg_listening_channels()") == []


def test_connection_closed_in_a_transaction_takes_its_session_along() -> None:
    before = session()
    connection.set_autocommit(False)
    run("SELECT 1")
    connection.close()
    assert session() != before


def test_session_that_the_server_has_ended_is_not_used_again() -> None:
    """Between two uses, by another session."""
    connection.ensure_connection()
    ended = []

    def use_another() -> None:
        ended.append(session())
        connection.close()

    thread = threading.Thread(target=use_another)
    thread.start()
    thread.join()
    assert rows("SELECT pg_terminate_backend(%s, 5000) AS done", (ended[0],))[0].done
    thread = threading.Thread(target=use_another)
    thread.start()
    thread.join()
    assert ended[0] != ended[1]
