"""Database sessions of the test process are used again, instead of each being a new one.

Django closes its connection after each test that commits, and each thread of a test has one of its
own: thousands in a run. For PostgreSQL each is a new process that reads the catalogs again, which
costs more than most queries of tests. For the application nothing changes: a reused session keeps
nothing of its former use but prepared statements and their plans.
"""

import os
import select
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from django.db.backends.postgresql.base import DatabaseWrapper
from psycopg._preparing import Prepare, PrepareManager
from psycopg._queries import PostgresQuery
from psycopg.adapt import AdaptersMap
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn

MOST = 40
ANSWER_MS = 2_000
# What DISCARD ALL does, but prepared statements and their plans remain.
FORGET = b"""
    CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *;
    SELECT pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES
"""
PREPARED_MAX = 300  # statements of a session

_kept: list["_Kept"] = []  # sessions of closed connections, the last closed one last
_lock = threading.Lock()


class Statements(PrepareManager):
    """The prepared statements of a session: all whose parameters the server binds.

    The application prepares one of them. A test run repeats each a thousand times on a handful of
    rows, and planning one costs several times what it does.
    """

    prepared_max = PREPARED_MAX

    def get(self, query: PostgresQuery, prepare: bool | None = None) -> tuple[Prepare, bytes]:
        """Return whether the statement is prepared, or is to be, and its name."""
        if query.params is None and not prepare:  # it may consist of several statements
            return Prepare.NO, b""
        if self.prepare_threshold is None:  # Django's default: nothing can be prepared
            self.prepare_threshold = sys.maxsize
        return super().get(query, prepare is not False)

    def clear(self) -> bool:
        """Keep them after a rollback, which does not affect them; psycopg would forget them."""
        return False


@dataclass
class _Kept:
    key: str
    session: PGconn
    statements: PrepareManager


class Session(psycopg.Connection[Any]):
    """A connection whose session is kept after `close`, unless a transaction was open on it."""

    kept_as = ""
    """Key that another connection must have to reuse the session."""

    def __init__(self, pgconn: PGconn) -> None:
        """Begin with a new session, or with that of a closed connection."""
        super().__init__(pgconn)
        self._prepared = Statements()

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
            _kept.append(_Kept(self.kept_as, kept, self._prepared))
            surplus = _kept.pop(0).session if len(_kept) > MOST else None
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
    for kept in ended:
        kept.session.finish()


def _new_connection(original: Any) -> Any:
    def get_new_connection(self: Any, params: Mapping[str, Any]) -> Any:
        options = self.settings_dict["OPTIONS"]
        # DISCARD ALL would not restore a role that was set at the connection's start.
        if self.pool or "isolation_level" in options or " role=" in options.get("options", ""):
            return original(self, params)
        self.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        own = {"context", "cursor_factory", "prepare_threshold"}
        key = repr((os.getpid(), sorted((k, v) for k, v in params.items() if k not in own)))
        if (kept := _take(key)) is None:
            connection = Session.connect(**params)
        else:
            connection = Session(kept.session)
            connection._prepared = kept.statements
            connection.cursor_factory = params["cursor_factory"]
            connection._adapters = AdaptersMap(params["context"].adapters)
            connection.prepare_threshold = params["prepare_threshold"]
        connection.kept_as = key
        return connection

    return get_new_connection


def _take(key: str) -> _Kept | None:
    while True:
        with _lock:
            indexes = [n for n, kept in enumerate(_kept) if kept.key == key]
            kept = _kept.pop(indexes[-1]) if indexes else None
        if kept is None or _has_forgotten(kept.session):
            return kept
        kept.session.finish()


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
            if result.status not in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
                return False
    except psycopg.Error:
        return False
    return session.status == ConnStatus.OK and not poll.poll(0)


def _ended() -> PGconn:
    """Return what a closed connection has in place of its session."""
    ended = psycopg.pq.PGconn.connect_start(b"host=/nowhere")
    ended.finish()
    return ended
