"""Which errors of the database pass, so that a request may be sent again.

A transaction that ran into one was rolled back, or was never committed: nothing of it stands. The
one exception is a connection that was lost while it committed; then nobody knows.
"""

from dataclasses import dataclass
from typing import Any

import psycopg
from django.db import DatabaseError, InterfaceError, InternalError, OperationalError

PASSING = frozenset({
    "55P03",  # lock time-out
    "57014",  # statement time-out
    "25P03",  # idle in a transaction for too long
    "25P04",  # transaction time-out
    "40001",  # serialization failure
    "40P01",  # deadlock
    "53300",  # too many connections
    "57P01", "57P02", "57P03",  # the server is shut down, has crashed, is starting
})  # fmt: skip
# Others hold what it needs, or it takes too long: less at once may go through.
_TOO_MUCH = frozenset({"55P03", "57014", "25P03", "25P04", "40P01"})
_LOST = ("08", "57P")  # the session ended: of its last command there is no answer


@dataclass(frozen=True, slots=True)
class DatabaseTrouble:
    """What a request ran into. is_known: it is certain that nothing of it was committed."""

    error: BaseException
    is_known: bool = True


def is_passing(error: BaseException) -> bool:
    """Whether the same request may well go through a moment later."""
    cause = error.__cause__
    if not isinstance(error, DatabaseError | InterfaceError) or not isinstance(
        cause, psycopg.Error
    ):
        return False
    state = cause.sqlstate
    if state is None:  # the driver's own: no connection, none free, or it was lost
        return isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)
    return state in PASSING or state.startswith("08")


def is_database_trouble(error: BaseException) -> bool:
    """Whether the database cannot do it now, whatever was to be written: it is away, busy or read
    only, or it ended a transaction of a process that stood still. To be tried again, as it was."""
    if isinstance(error, OperationalError | InterfaceError):
        return True
    return isinstance(error, InternalError) and (is_passing(error) or _is_read_only(error))


def is_too_much(error: BaseException) -> bool:
    """Whether a smaller transaction may go through where this one waited or worked too long."""
    return getattr(error.__cause__, "sqlstate", None) in _TOO_MUCH


def _is_read_only(error: BaseException) -> bool:  # a standby that is not the primary yet
    return getattr(error.__cause__, "sqlstate", None) == "25006"


def is_lost(error: BaseException) -> bool:
    """Whether the session ended without an answer to its last command."""
    state = getattr(error.__cause__, "sqlstate", None)
    return state is None or str(state).startswith(_LOST)


def record_database_error(request: Any, error: BaseException, *, is_known: bool = True) -> None:
    """Keep with a Django request what it ran into: config/middleware/request_retry.py decides what
    comes of it."""
    request.database_trouble = DatabaseTrouble(error, is_known)


def pop_database_error(request: Any) -> DatabaseTrouble | None:
    """Return what was noted since the last call."""
    found: DatabaseTrouble | None = getattr(request, "database_trouble", None)
    request.database_trouble = None
    return found
