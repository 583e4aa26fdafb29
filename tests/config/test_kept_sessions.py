"""A reused database session keeps nothing of its former use."""

import threading

import psycopg
import pytest
from django.db import connection

from common.db.sql import rows, run

pytestmark = pytest.mark.django_db(transaction=True)


def session() -> int:
    """Return the process id of the connection's server process."""
    return int(rows("SELECT pg_backend_pid() AS pid")[0].pid)


def test_session_of_closed_connection_is_reused() -> None:
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
    assert rows("SELECT to_regclass('leftover') AS oid")[0].oid is None
    assert rows("SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory'")[0].n == 0
    assert rows("SELECT pg_listening_channels()") == []


def test_session_closed_in_a_transaction_is_not_reused() -> None:
    before = session()
    connection.set_autocommit(False)
    run("SELECT 1")
    connection.close()
    assert session() != before


def test_session_ended_by_the_server_is_not_reused() -> None:
    """Another session ends it between two uses."""
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
