"""The paper broker's own connections to its own books: apart from Django's, as another firm's are.

Where the books are comes from Django's settings, read at the first use, so it follows the test
database and the role. Sessions have time-outs below a lease: a process that hangs in a
transaction loses it, and its locks. Those of a transaction pooler get them with each transaction.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections

from brokers.paper.idle_sessions import IdleSessions
from common.db.direct_sessions import is_pooled

LOCK_MS, STATEMENT_MS, IDLE_MS = 300, 4_000, 4_000
PARAMETERS = {
    "lock_timeout": str(LOCK_MS),
    "statement_timeout": str(STATEMENT_MS),
    "idle_in_transaction_session_timeout": str(IDLE_MS),
    "jit": "off",
    "TimeZone": "UTC",
    # Every statement here uses an index; without statistics the planner would not.
    "enable_seqscan": "off",
}
OPTIONS = " ".join(f"-c {name}={value}" for name, value in PARAMETERS.items())
SET_LOCAL = "SELECT " + ", ".join(
    f"set_config('{name}', '{value}', true)" for name, value in PARAMETERS.items()
)
MAX_ATTEMPTS = 20  # × LOCK_MS: longer than a stopped process can hold a lock
UNUSED_SECONDS = 75.0  # then a session is closed; accounts are read once a minute
T = TypeVar("T")
Session = psycopg.Connection[tuple[Any, ...]]


class SessionPool:
    """A small pool. Broken and unused connections are dropped."""

    def __init__(self) -> None:
        self._idle = IdleSessions(seconds=UNUSED_SECONDS)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Yield a connection for one transaction: committed at the end, rolled back on an error."""
        where = connection_arguments()
        session = self._idle.take(where)
        if session is None:
            session = _connect(where)
        try:
            with session.transaction():
                if session.prepare_threshold is None:
                    session.execute(SET_LOCAL)
                yield session
        except psycopg.OperationalError:
            _close_if_broken(session)
            raise
        finally:
            self._idle.give_back(where, session)

    def run(self, work: Callable[[Session], T]) -> T:
        """Run `work` in one transaction, again if a lock was not available in time.

        A process that stopped while it held a lock loses it after IDLE_MS, hence the rounds.
        """
        for left in reversed(range(MAX_ATTEMPTS)):
            try:
                with self.transaction() as session:
                    return work(session)
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
                if not left:
                    raise
        raise AssertionError  # the loop returns or raises

    def close(self) -> None:
        """Close idle connections; the next use connects again."""
        self._idle.close()


def _connect(where: dict[str, Any]) -> Session:
    threshold = None if is_pooled() else 2  # a pooler would run it in another session
    return psycopg.connect(**where, autocommit=True, prepare_threshold=threshold)


def _close_if_broken(session: Session) -> None:
    if session.broken:
        session.close()


def connection_arguments(alias: str = DEFAULT_DB_ALIAS) -> dict[str, Any]:
    """Return psycopg's arguments for one of Django's databases."""
    settings = connections.settings[alias]
    options = dict(settings["OPTIONS"])
    names = {
        "dbname": "NAME",
        "user": "USER",
        "password": "PASSWORD",
        "host": "HOST",
        "port": "PORT",
    }
    parameters = {ours: settings[theirs] for ours, theirs in names.items() if settings.get(theirs)}
    for ours in ("connect_timeout", "sslmode", "sslrootcert", "sslcert", "sslkey", "service"):
        if ours in options:
            parameters[ours] = options[ours]
    if not is_pooled(alias):
        parameters["options"] = f"{options.get('options', '')} {OPTIONS}".strip()
    parameters["application_name"] = "fillcast-paper-broker"
    return parameters


sessions = SessionPool()
