"""Django's PostgreSQL engine with sessions that the threads of a process share."""

from typing import Any

from django.db.backends.postgresql import base
from django.utils.asyncio import async_unsafe

from common.db.idle_sessions import IdleSessions
from common.db.session_checks import CheckedSessions
from common.db.shared_sessions.turns import Turns

KEEP = 2  # the task and the writer of its reports: neither waits for a session to open
IDLE_SECONDS = 30.0
PREPARED_MAX = 400  # statements of a session: it has those of all threads

SESSIONS = IdleSessions(keep=KEEP, seconds=IDLE_SECONDS)
# Of the jobs. Six that hang hold up the others for half a minute; without that bound a machine that
# is too slow opens a session for each job, and each of them plans every statement again.
TURNS = Turns(usual=3, most=6, longest=30.0)
# Of the statements that are repeated: one session of the process has the plans of all of them. They
# take about a millisecond. A thread that has waited longer, as for one that waits for a lock, uses
# an ordinary session.
REPEATED_SESSIONS = IdleSessions(keep=1, seconds=IDLE_SECONDS)
REPEATED_TURNS = Turns(usual=1, most=1, longest=30.0)
URGENT_PATIENCE, JOB_PATIENCE = 0.25, 1.0
# For statements that keep their plans: one plan for all parameters, which an index answers, even if
# it is made while the table is empty. To start JIT or a parallel worker takes longer than that.
PLAN_SETTINGS = {
    "plan_cache_mode": "force_generic_plan", "enable_seqscan": "off", "jit": "off",
    "max_parallel_workers_per_gather": "0",
}  # fmt: skip


class DatabaseWrapper(CheckedSessions, base.DatabaseWrapper):
    """Django's connection of a thread. `close` ends its session, `give_back` does not."""

    patience = 0.0
    """Seconds to wait for a turn among the jobs; 0: this thread is none, and waits for no turn."""
    keeps = False
    """Whether this thread takes no other thread's session, and gives its own to none."""
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
        if self.patience and self._turns is None:
            TURNS.begin(self.patience)
            self._turns = TURNS
        try:
            if (session := self._idle.take(self._where())) is not None:
                self._adopt(session)
            else:
                super().connect()
                self.connection.prepared_max = PREPARED_MAX
                if self._idle is REPEATED_SESSIONS:
                    for name, value in PLAN_SETTINGS.items():
                        self.connection.execute("SELECT set_config(%s, %s, false)", (name, value))
        except BaseException:  # any: a thread without a session must not keep a turn
            if self._idle is REPEATED_SESSIONS:
                self.close()  # it may lack the settings
            self._end_turn()
            raise

    def begin_repeated(self) -> bool:
        """Let the next session be that for repeated statements; call `end_repeated` afterwards.

        False: it stays an ordinary one, because this thread has a session, or because others have
        used that for repeated statements for long.
        """
        if self.connection is not None or self.keeps:
            return False
        patience = JOB_PATIENCE if self.patience else URGENT_PATIENCE
        if not REPEATED_TURNS.try_begin(patience):
            return False
        self._turns, self._idle = REPEATED_TURNS, REPEATED_SESSIONS
        return True

    def end_repeated(self) -> None:
        """Give the session for repeated statements back."""
        try:
            self.give_back()
        finally:
            self._idle = SESSIONS
            self._end_turn()

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
