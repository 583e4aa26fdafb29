"""Database sessions of the test process are used again, instead of each being a new one.

Django closes its connection after each test that commits, and each thread of a test has one of
its own: thousands in a run. To PostgreSQL each is a new process that reads the catalogs again,
which costs more than most of what tests ask of it. What the application sees is a connection that
it opens and closes: a session that is used again has nothing left of its former use.
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

_kept: list[tuple[str, PGconn]] = []  # those whose connection is closed, the last closed one last
_lock = threading.Lock()


class Session(psycopg.Connection[Any]):
    """A connection whose session outlives its `close` where nothing was under way on it."""

    kept_as = ""
    """What must be equal for another connection to use its session."""

    def close(self) -> None:
        if self.closed:
            return
        if self._is_clean() and self.lock.acquire(blocking=False):
            try:
                self._keep()
            except psycopg.Error:  # its server is away
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
    """Have Django use sessions again in this process."""
    DatabaseWrapper.get_new_connection = _new_connection(  # type: ignore[method-assign]
        DatabaseWrapper.get_new_connection
    )


def end_sessions() -> None:
    """End those that no connection uses now."""
    with _lock:
        ended, _kept[:] = list(_kept), []
    for _, session in ended:
        session.finish()


def _new_connection(original: Any) -> Any:
    def get_new_connection(self: Any, params: Mapping[str, Any]) -> Any:
        options = self.settings_dict["OPTIONS"]
        # DISCARD ALL would not bring back a role that the connection began with.
        if self.pool or "isolation_level" in options or " role=" in options.get("options", ""):
            return original(self, params)
        self.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        own = {"context", "cursor_factory", "prepare_threshold"}
        key = repr((os.getpid(), sorted((k, v) for k, v in params.items() if k not in own)))
        if (session := _take(key)) is None:
            made = Session.connect(**params)
        else:
            made = Session(session)
            made.cursor_factory = params["cursor_factory"]
            made._adapters = AdaptersMap(params["context"].adapters)
            made.prepare_threshold = params["prepare_threshold"]
        made.kept_as = key
        return made

    return get_new_connection


def _take(key: str) -> PGconn | None:
    while True:
        with _lock:
            places = [n for n, (kept_as, _) in enumerate(_kept) if kept_as == key]
            session = _kept.pop(places[-1])[1] if places else None
        if session is None or _has_forgotten(session):
            return session
        session.finish()


def _has_forgotten(session: PGconn) -> bool:
    """Whether the server answered FORGET and sent nothing since; ending a session sends."""
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
    """What a closed connection has in place of its session."""
    ended = psycopg.pq.PGconn.connect_start(b"host=/nowhere")
    ended.finish()
    return ended
