"""Database sessions of the test process are used again, instead of each being a new one.

Django closes its connection after each test that commits, and each thread of a test has one of its
own: thousands in a run. For PostgreSQL each is a new process that reads the catalogs again, which
costs more than most queries of tests. For the application nothing changes: a reused session keeps
nothing of its former use.
"""

import os
import select
import threading
from collections.abc import Mapping
from typing import Any

import psycopg
from django.db.backends.postgresql.base import DatabaseWrapper
from psycopg.adapt import AdaptersMap
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn

MOST = 40
ANSWER_MS = 2_000
FORGET = b"DISCARD ALL"  # settings, prepared statements, advisory locks, temporary tables

_kept: list[tuple[str, PGconn]] = []  # sessions of closed connections, the last closed one last
_lock = threading.Lock()


class Session(psycopg.Connection[Any]):
    """A connection whose session is kept after `close`, unless a transaction was open on it."""

    kept_as = ""
    """Key that another connection must have to reuse the session."""

    def close(self) -> None:
        """Close the connection, and keep its session if possible."""
        if self.closed:
            return
        if self._is_clean() and self.lock.acquire(blocking=False):
            try:
                self._keep()
            except psycopg.Error:  # its server has ended
                super().close()
            finally:
                self.lock.release()
        else:
            super().close()

    def _is_clean(self) -> bool:
        return bool(self.kept_as) and self.pgconn.transaction_status == TransactionStatus.IDLE

    def _keep(self) -> None:
        self.pgconn.send_query(FORGET)
        self.pgconn.flush()
        kept, self.pgconn, self._closed = self.pgconn, _ended(), True
        with _lock:
            _kept.append((self.kept_as, kept))
            surplus = _kept.pop(0)[1] if len(_kept) > MOST else None
        if surplus is not None:
            surplus.finish()


def keep_sessions() -> None:
    """Make Django reuse sessions in this process."""
    DatabaseWrapper.get_new_connection = _new_connection(  # type: ignore[method-assign]
        DatabaseWrapper.get_new_connection
    )


def end_sessions() -> None:
    """End the kept sessions, which no connection uses now."""
    with _lock:
        ended, _kept[:] = list(_kept), []
    for _, session in ended:
        session.finish()


def _new_connection(original: Any) -> Any:
    def get_new_connection(self: Any, params: Mapping[str, Any]) -> Any:
        options = self.settings_dict["OPTIONS"]
        # DISCARD ALL would not restore a role that was set at the connection's start.
        if self.pool or "isolation_level" in options or " role=" in options.get("options", ""):
            return original(self, params)
        self.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        own = {"context", "cursor_factory", "prepare_threshold"}
        key = repr((os.getpid(), sorted((k, v) for k, v in params.items() if k not in own)))
        if (session := _take(key)) is None:
            connection = Session.connect(**params)
        else:
            connection = Session(session)
            connection.cursor_factory = params["cursor_factory"]
            connection._adapters = AdaptersMap(params["context"].adapters)
            connection.prepare_threshold = params["prepare_threshold"]
        connection.kept_as = key
        return connection

    return get_new_connection


def _take(key: str) -> PGconn | None:
    while True:
        with _lock:
            indexes = [n for n, (kept_as, _) in enumerate(_kept) if kept_as == key]
            session = _kept.pop(indexes[-1])[1] if indexes else None
        if session is None or _has_forgotten(session):
            return session
        session.finish()


def _has_forgotten(session: PGconn) -> bool:
    """Return whether the server answered FORGET and sent nothing since, as it does when it ends."""
    poll = select.poll()
    poll.register(session.socket, select.POLLIN)
    try:
        while True:
            while session.is_busy():
                if not poll.poll(ANSWER_MS):
                    return False
                session.consume_input()
            if (result := session.get_result()) is None:
                break
            if result.status != ExecStatus.COMMAND_OK:
                return False
    except psycopg.Error:
        return False
    return session.status == ConnStatus.OK and not poll.poll(0)


def _ended() -> PGconn:
    """Return what a closed connection has in place of its session."""
    ended = psycopg.pq.PGconn.connect_start(b"host=/nowhere")
    ended.finish()
    return ended
