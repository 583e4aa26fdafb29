"""One process's threads share its database sessions. docs/adr/0050.

Django's connections belong to their threads, and each would keep a session for ever. A thread that
calls `give_back` after each piece of work leaves its session to the next one. Only processes whose
database engine is this package share; elsewhere nothing happens.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DEFAULT_DB_ALIAS, connections

from common.db.direct_sessions import is_pooled
from common.db.shared_sessions.base import REPEATED_SESSIONS, SESSIONS, DatabaseWrapper


def give_back() -> None:
    """Let other threads use this thread's session, unless a transaction is open on it.

    The next query of this thread takes a session again. Nothing may be left that belongs to the
    session: no setting but by SET LOCAL, no advisory lock but of a transaction, no LISTEN.
    """
    connection = connections[DEFAULT_DB_ALIAS]
    if isinstance(connection, DatabaseWrapper):
        connection.give_back()


def be_patient(seconds: float) -> None:
    """Let this thread, a job, wait up to `seconds` for its turn before it uses a session.

    Jobs repeat something short: of several that begin at the same moment three go on at once.
    """
    connection = connections[DEFAULT_DB_ALIAS]
    if isinstance(connection, DatabaseWrapper):
        connection.patience = seconds


@contextmanager
def at_once() -> Iterator[None]:
    """Let this thread wait for no turn of the jobs meanwhile: others wait for what it holds."""
    connection = connections[DEFAULT_DB_ALIAS]
    if not isinstance(connection, DatabaseWrapper):
        yield
        return
    patience, connection.patience = connection.patience, 0.0
    try:
        yield
    finally:
        connection.patience = patience


@contextmanager
def repeated_statements() -> Iterator[bool]:
    """Let this thread use the session of its process for statements that are repeated.

    Yields whether it does. If so the session is set so that statements keep their plans and indexes
    answer: the plans of what jobs repeat are in one session, mostly, not in each. A thread that has
    a session goes on with that one; so does one that has waited for a moment, and nothing is kept
    behind a pooler. Run no more than one exchange within, and no transaction.
    """
    connection = connections[DEFAULT_DB_ALIAS]
    if (
        not isinstance(connection, DatabaseWrapper)
        or is_pooled()
        or not connection.begin_repeated()
    ):
        yield False
        return
    try:
        yield True
    finally:
        connection.end_repeated()


def keep_own() -> None:
    """Let this thread have a session of its own, from now on, that no other one uses."""
    connection = connections[DEFAULT_DB_ALIAS]
    if isinstance(connection, DatabaseWrapper):
        connection.close()
        connection.keeps = True


def close_idle() -> None:
    """Close the sessions that no thread uses."""
    SESSIONS.close()
    REPEATED_SESSIONS.close()
