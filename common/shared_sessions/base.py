"""Django's PostgreSQL engine with sessions that the threads of a process share."""

from typing import Any

from django.db.backends.postgresql import base
from django.utils.asyncio import async_unsafe

from common.idle_sessions import IdleSessions
from common.session_checks import CheckedSessions
from common.shared_sessions.turns import Turns

KEEP = 2  # the task and the writer of its reports: neither waits for a session to open
IDLE_SECONDS = 30.0
PREPARED_MAX = 400  # statements of a session: it has those of all threads

SESSIONS = IdleSessions(keep=KEEP, seconds=IDLE_SECONDS)
# Of the jobs. Six that hang hold up the others for half a minute; without that bound a machine that
# is too slow opens a session for each job, and each of them plans every statement again.
TURNS = Turns(usual=3, most=6, longest=30.0)
# Of the statements that are repeated: one session has the plans of all of them, mostly. They take
# about a millisecond, so those that a fill waits for wait for their turn, too, but not for long.
LOOK_SESSIONS = IdleSessions(keep=1, seconds=IDLE_SECONDS)
LOOK_TURNS = Turns(usual=1, most=3, longest=30.0)
LOOK_PATIENCE = 0.05
# A kept plan that an index answers, whatever the parameters are. To start JIT or a parallel worker
# takes longer than that.
LOOK_SETTINGS = """
SET plan_cache_mode = 'force_generic_plan'; SET enable_seqscan = off; SET jit = off;
SET max_parallel_workers_per_gather = 0
"""


class DatabaseWrapper(CheckedSessions, base.DatabaseWrapper):
    """Django's connection of a thread. `close` ends its session, `give_back` does not."""

    patience = 0.0
    """Seconds to wait for a turn among the jobs; 0: this thread is none, and never waits."""
    keeps = False
    """Whether this thread takes no other thread's session, and gives its own to none."""
    is_looking = False
    """Whether the session that it takes is one for the statements that jobs repeat."""
    _turns: Turns | None = None
    _idle = SESSIONS

    @async_unsafe
    def connect(self) -> None:
        """Take a session that no thread uses, or open one; a job waits for its turn before.

        `connection_created` is sent for an opened one only: its receivers' effects are on the
        session and its server process, not on this thread.
        """
        if self.keeps:
            super().connect()
            return
        self._begin_turn()
        try:
            if (session := self._idle.take(self._where())) is not None:
                self._adopt(session)
            else:
                super().connect()
                self.connection.prepared_max = PREPARED_MAX
                if self.is_looking:
                    self.connection.execute(LOOK_SETTINGS)
        except BaseException:  # any: a thread without a session must not keep a turn
            self._end_turn()
            raise

    def give_back(self) -> None:
        """Leave the session to other threads, unless a transaction is open on it."""
        session = self.connection
        if session is None or self.keeps or self.in_atomic_block or not self.autocommit:
            return
        self.validate_thread_sharing()
        self.connection = None
        try:
            self._idle.give_back(self._where(), session)
        finally:
            self._end_turn()

    def _close(self) -> None:
        try:
            super()._close()  # type: ignore[misc]  # the stubs do not know it
        finally:
            self._end_turn()

    def _begin_turn(self) -> None:
        if self._turns is not None:
            return
        self._idle = LOOK_SESSIONS if self.is_looking else SESSIONS
        turns = LOOK_TURNS if self.is_looking else TURNS
        if self.patience:
            turns.begin(self.patience)
            self._turns = turns
        elif self.is_looking:
            turns.begin(LOOK_PATIENCE, longest=LOOK_PATIENCE)
            self._turns = turns

    def _end_turn(self) -> None:
        if (turns := self._turns) is not None:
            self._turns = None
            turns.end()

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
