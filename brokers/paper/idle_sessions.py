"""Database sessions that are open and that no thread uses now.

The last one given back is taken first, so that the others become old and can be closed.
"""

import os
import select
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

Session = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class _Idle:
    where: Mapping[str, Any]
    session: Session
    since: float


class IdleSessions:
    """The idle sessions of a process. A forked process starts with none.

    `take` one, or open one; then `give_back`, or close it.
    """

    def __init__(self, *, seconds: float) -> None:
        """seconds: a session that is unused for so long is closed."""
        self._seconds = seconds
        self._idle: list[_Idle] = []  # by `since`, the oldest first
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._all_closed = threading.Condition(self._lock)
        self._is_closing = False

    def __len__(self) -> int:
        return len(self._idle)

    def take(self, where: Mapping[str, Any]) -> Session | None:
        """Return a session that was opened with these arguments; None: open one."""
        with self._lock:
            self._forget_parents()
            while self._idle:
                last = self._idle.pop()
                if last.where == where and _is_alive(last.session):
                    return last.session
                last.session.close()
            return None

    def give_back(self, where: Mapping[str, Any], session: Session) -> None:
        """Keep a session for the next thread; close it if it is broken or in a transaction."""
        if session.closed or session.info.transaction_status != TransactionStatus.IDLE:
            session.close()
            return
        with self._lock:
            self._forget_parents()
            self._idle.append(_Idle(where, session, time.monotonic()))
            if not self._is_closing:
                closing = threading.Thread(target=self._close_unused, daemon=True)
                closing.name = "idle-sessions"
                closing.start()
                self._is_closing = True

    def close(self) -> None:
        """Close all idle sessions; the next use opens one again."""
        with self._lock:
            self._forget_parents()
            idle, self._idle = self._idle, []
            self._all_closed.notify_all()
        for one in idle:
            one.session.close()

    def _close_unused(self) -> None:
        """Close what has not been used for long, until none is left."""
        while True:
            with self._lock:
                limit = time.monotonic() - self._seconds
                old = [one for one in self._idle if one.since <= limit]
                del self._idle[: len(old)]
                self._is_closing = goes_on = bool(self._idle)
                if goes_on and not old:
                    self._all_closed.wait(self._idle[0].since - limit)
            for one in old:
                one.session.close()
            if not goes_on:
                return

    def _forget_parents(self) -> None:
        """The sockets of before a fork are the parent's: they are neither used nor closed."""
        if self._pid != os.getpid():
            self._idle, self._pid, self._is_closing = [], os.getpid(), False


def _is_alive(session: Session) -> bool:
    """Return whether the server has sent nothing since, as it does when it ends a session."""
    if session.closed:
        return False
    poll = select.poll()
    poll.register(session.fileno(), select.POLLIN)
    return not poll.poll(0)
