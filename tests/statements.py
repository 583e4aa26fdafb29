"""The statements that are sent to PostgreSQL: by the ORM, and by `common.db.sql` beside it.

Django's CaptureQueriesContext sees the ORM's alone.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

OF_TRANSACTIONS = (
    "SAVEPOINT", "RELEASE", "ROLLBACK TO", "SET ", "RESET ", "SELECT set_config",
    "SELECT coalesce(current_setting", "WITH before AS MATERIALIZED (SELECT coalesce(current_set",
)  # fmt: skip
"""How statements begin that open a transaction and name its user."""


@contextmanager
def sent_statements() -> Iterator[list[str]]:
    """Return the list of what is sent from now on, without what opens and names a transaction."""
    sent: list[str] = []

    def note(text: str, _: Any) -> None:
        if not text.lstrip().startswith(OF_TRANSACTIONS):
            sent.append(text)

    with _noting(note):
        yield sent


@contextmanager
def sent_reads() -> Iterator[list[tuple[str, Any]]]:
    """Return the list of what is read from now on, each with its parameters."""
    sent: list[tuple[str, Any]] = []

    def note(text: str, params: Any) -> None:
        if text.lstrip().startswith(("SELECT", "WITH")):
            sent.append((text, params))

    with _noting(note):
        yield sent


@contextmanager
def _noting(note: Callable[[str, Any], None]) -> Iterator[None]:
    def noted(execute: Any) -> Any:
        def with_note(cursor: Any, query: Any, params: Any = None, *rest: Any, **more: Any) -> Any:
            note(query.decode() if isinstance(query, bytes) else str(query), params)
            return execute(cursor, query, params, *rest, **more)

        return with_note

    with pytest.MonkeyPatch.context() as patch:
        for kind in (psycopg.Cursor, psycopg.ServerCursor):  # the second for `iterator()`
            patch.setattr(kind, "execute", noted(kind.execute))
        yield
