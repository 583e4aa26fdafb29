"""Database sessions that are open and that no thread uses now.

The last one given back is taken first, so that the others become old and can be closed.
"""

import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

Session = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class _Idle:
    where: Mapping[str, Any]
    session: Session
    since: float


@dataclass(eq=False, slots=True)
class _Waiting:
    where: Mapping[str, Any]
    is_served: threading.Event = field(default_factory=threading.Event)
    session: Session | None = None


@dataclass(frozen=True, slots=True)
class Turns:
    """While `usual` sessions are lent, the patient wait, even beside idle ones, which so grow old.

    While `most` are lent, they wait `longest` seconds, however little patience they have.
    """

    usual: int
    most: int
    longest: float


class IdleSessions:
    """The idle sessions of a process. A forked process starts with none.

    `take` one, or open one and call `opened`; then `give_back`, or close it and call `closed`.
    """

    def __init__(self, *, keep: int, seconds: float, turns: Turns | None = None) -> None:
        """keep: that many stay open for ever; others are closed once unused for `seconds`.

        turns: how the patient take turns; None: they wait only if no session is idle.
        """
        self._keep, self._seconds = keep, seconds
        self._turns = turns or Turns(sys.maxsize, sys.maxsize, 0.0)
        self._idle: list[_Idle] = []  # by `since`, the oldest first
        self._waiting: deque[_Waiting] = deque()
        self._lent = 0
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._all_closed = threading.Condition(self._lock)
        self._is_closing = False

    def __len__(self) -> int:
        return len(self._idle)

    def take(self, where: Mapping[str, Any], *, patience: float = 0.0) -> Session | None:
        """Return a session that was opened with these arguments; None: open one.

        patience: seconds to wait for one that is lent. Who waited longest is served first.
        """
        with self._lock:
            self._forget_parents()
            if not (patience and self._lent >= self._turns.usual):
                session = self._lend(where)
                if session is not None or not patience or not self._lent:
                    return session
            waiting = _Waiting(where)
            self._waiting.append(waiting)
        if not waiting.is_served.wait(patience) and self._lent >= self._turns.most:
            waiting.is_served.wait(max(0.0, self._turns.longest - patience))
        with self._lock:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            return waiting.session or self._lend(where)

    def opened(self) -> None:
        """Count a session that a thread has opened, and will give back or close."""
        with self._lock:
            self._lent += 1

    def closed(self) -> None:
        """Count a session that its thread has closed. If it was the last one, none waits for it."""
        with self._lock:
            self._lent = max(0, self._lent - 1)
            while not self._lent and self._waiting:
                self._waiting.popleft().is_served.set()

    def give_back(self, where: Mapping[str, Any], session: Session) -> None:
        """Keep a session for the next thread; close it if it is broken or in a transaction."""
        if session.closed or session.info.transaction_status != TransactionStatus.IDLE:
            session.close()
            self.closed()
            return
        with self._lock:
            self._forget_parents()
            for waiting in self._waiting:
                if waiting.where == where:
                    self._waiting.remove(waiting)
                    waiting.session = session
                    waiting.is_served.set()
                    return
            self._lent = max(0, self._lent - 1)
            self._idle.append(_Idle(where, session, time.monotonic()))
            if len(self._idle) > self._keep and not self._is_closing:
                self._is_closing = True
                closing = threading.Thread(target=self._close_unused, daemon=True)
                closing.name = "idle-sessions"
                closing.start()

    def close(self) -> None:
        """Close all idle sessions; the next use opens one again."""
        with self._lock:
            self._forget_parents()
            idle, self._idle = self._idle, []
            self._all_closed.notify_all()
        for one in idle:
            one.session.close()

    def _lend(self, where: Mapping[str, Any]) -> Session | None:
        session = self._pop(where)
        self._lent += session is not None
        return session

    def _pop(self, where: Mapping[str, Any]) -> Session | None:
        while self._idle:
            last = self._idle.pop()
            if last.where == where and _is_alive(last.session):
                return last.session
            last.session.close()
        return None

    def _close_unused(self) -> None:
        """Close what has not been used for long, until no more than `keep` are left."""
        while True:
            with self._lock:
                limit = time.monotonic() - self._seconds
                surplus = self._idle[: max(0, len(self._idle) - self._keep)]
                old = [one for one in surplus if one.since <= limit]
                del self._idle[: len(old)]
                self._is_closing = goes_on = len(self._idle) > self._keep
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
            self._waiting, self._lent = deque(), 0


def _is_alive(session: Session) -> bool:
    """Return whether the server has sent nothing since, as it does when it ends a session."""
    if session.closed:
        return False
    poll = select.poll()
    poll.register(session.fileno(), select.POLLIN)
    return not poll.poll(0)
