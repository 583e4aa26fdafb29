"""Django's PostgreSQL engine with sessions that the threads of a process share."""

from typing import Any

from django.db.backends.postgresql import base
from django.utils.asyncio import async_unsafe

from common.idle_sessions import IdleSessions, Turns
from common.session_checks import CheckedSessions

KEEP = 2  # the task and the writer of its reports: neither waits for a session to open
# Sessions that are in use while a job waits for its turn. Six that hang hold up the others for half
# a minute; without that bound a slow machine opens one for each job, and is slower for it.
TURNS = Turns(usual=3, most=6, longest=30.0)
IDLE_SECONDS = 30.0
PREPARED_MAX = 400  # statements of a session: it has those of all threads

SESSIONS = IdleSessions(keep=KEEP, seconds=IDLE_SECONDS, turns=TURNS)


class DatabaseWrapper(CheckedSessions, base.DatabaseWrapper):
    """Django's connection of a thread. `close` ends its session, `give_back` does not."""

    patience = 0.0
    """Seconds to wait for another thread's session before one is opened."""
    keeps = False
    """Whether this thread takes no other thread's session, and gives its own to none."""

    @async_unsafe
    def connect(self) -> None:
        """Take a session that no thread uses, or open one.

        `connection_created` is sent for an opened one only: its receivers' effects are on the
        session and its server process, not on this thread.
        """
        if self.keeps:
            super().connect()
        elif (session := SESSIONS.take(self._where(), patience=self.patience)) is not None:
            self._adopt(session)
        else:
            super().connect()
            self.connection.prepared_max = PREPARED_MAX
            SESSIONS.opened()

    def give_back(self) -> None:
        """Leave the session to other threads, unless a transaction is open on it."""
        session = self.connection
        if session is None or self.keeps or self.in_atomic_block or not self.autocommit:
            return
        self.validate_thread_sharing()
        self.connection = None
        SESSIONS.give_back(self._where(), session)

    def _close(self) -> None:
        is_lent = self.connection is not None and not self.keeps
        try:
            super()._close()  # type: ignore[misc]  # the stubs do not know it
        finally:
            if is_lent:
                SESSIONS.closed()

    def _where(self) -> dict[str, Any]:
        return {**self.settings_dict, "OPTIONS": {**self.settings_dict["OPTIONS"]}}

    def _adopt(self, session: Any) -> None:
        """Begin as after Django's own `connect`, which would also ask the session what it is."""
        self.in_atomic_block = self.needs_rollback = False
        self.savepoint_ids, self.atomic_blocks, self.run_on_commit = [], [], []
        self.closed_in_transaction = self.errors_occurred = False
        self.health_check_enabled = self.settings_dict["CONN_HEALTH_CHECKS"]
        self.health_check_done = True
        self.close_at = None
        self.connection, self.autocommit = session, True
