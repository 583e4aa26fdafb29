"""Classify database errors: which ones are transient, so that a request may be sent again.

A transaction with such an error was rolled back or never committed: nothing of it is stored. The
one exception is a connection that was lost during the commit; then the outcome is unknown.
"""

from dataclasses import dataclass
from typing import Any

import psycopg
from django.db import DatabaseError, InterfaceError, InternalError, OperationalError

TRANSIENT = frozenset({
    "55P03",  # lock time-out
    "57014",  # statement time-out
    "25P03",  # idle in a transaction for too long
    "25P04",  # transaction time-out
    "40001",  # serialization failure
    "40P01",  # deadlock
    "53300",  # too many connections
    "57P01", "57P02", "57P03",  # the server is shut down, has crashed, is starting
})  # fmt: skip
# Locks of others, or too much work: a smaller transaction may succeed.
_TOO_MUCH = frozenset({"55P03", "57014", "25P03", "25P04", "40P01"})
_LOST = ("08", "57P")  # the session ended without an answer to its last command


@dataclass(frozen=True, slots=True)
class DatabaseTrouble:
    """The database error of a request. is_rolled_back: certainly nothing was committed."""

    error: BaseException
    is_rolled_back: bool = True


class CommitUnansweredError(Exception):
    """The session was lost while it committed: it is unknown whether that is stored."""


class TryLaterError(OperationalError):
    """The machine has something more urgent to do: the request waits, and is answered again."""


def is_transient(error: BaseException) -> bool:
    """Whether the error is transient: the same request may succeed a moment later."""
    if isinstance(error, TryLaterError):
        return True
    cause = error.__cause__
    if not isinstance(error, DatabaseError | InterfaceError) or not isinstance(
        cause, psycopg.Error
    ):
        return False
    state = cause.sqlstate
    if state is None:  # an error of the driver: no connection, none free, or a lost one
        return isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)
    return state in TRANSIENT or state.startswith("08")


def is_gone(error: BaseException) -> bool:
    """Whether a row that is referred to was deleted by another transaction meanwhile.

    References are checked at the commit, so no service can refuse it; a second attempt finds it
    gone and states that.
    """
    return getattr(error.__cause__, "sqlstate", None) == "23503"


def is_database_trouble(error: BaseException) -> bool:
    """Whether the database itself is the problem, whatever was to be written: try again later.

    It is unavailable, busy or read-only, or it ended the transaction of a suspended process.
    """
    if isinstance(error, OperationalError | InterfaceError):
        return True
    return isinstance(error, InternalError) and (is_transient(error) or is_read_only(error))


def is_too_much(error: BaseException) -> bool:
    """Whether a smaller transaction may succeed where this one waited or worked too long."""
    return getattr(error.__cause__, "sqlstate", None) in _TOO_MUCH


def is_read_only(error: BaseException) -> bool:
    """Whether the database is a standby that is not the primary yet."""
    return getattr(error.__cause__, "sqlstate", None) == "25006"


def is_lost(error: BaseException) -> bool:
    """Whether the session ended without an answer to its last command."""
    state = getattr(error.__cause__, "sqlstate", None)
    return state is None or str(state).startswith(_LOST)


def record_database_error(
    request: Any, error: BaseException, *, is_rolled_back: bool = True
) -> None:
    """Store a database error on a Django request, for config/middleware/request_retry.py."""
    request.database_trouble = DatabaseTrouble(error, is_rolled_back)


def pop_database_error(request: Any) -> DatabaseTrouble | None:
    """Return and clear the error that was recorded on the request."""
    found: DatabaseTrouble | None = getattr(request, "database_trouble", None)
    request.database_trouble = None
    return found
