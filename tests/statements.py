"""The statements that are sent to PostgreSQL: by the ORM, and by `common.sql` beside it.

Django's CaptureQueriesContext sees the ORM's alone.
"""

from collections.abc import Iterator
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

    def noted(execute: Any) -> Any:
        def note(cursor: Any, query: Any, *rest: Any, **more: Any) -> Any:
            text = query.decode() if isinstance(query, bytes) else str(query)
            if not text.lstrip().startswith(OF_TRANSACTIONS):
                sent.append(text)
            return execute(cursor, query, *rest, **more)

        return note

    with pytest.MonkeyPatch.context() as patch:
        for kind in (psycopg.Cursor, psycopg.ServerCursor):  # the second for `iterator()`
            patch.setattr(kind, "execute", noted(kind.execute))
        yield sent
