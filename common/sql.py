"""Set-based SQL next to the ORM: the same connection and transaction, server-side parameters.

Django's cursor interpolates parameters on the client; for arrays of thousands that is slower, and
it cannot prepare. These helpers open a plain psycopg cursor on Django's own connection, so what
they do is part of the surrounding `transaction.atomic()`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.utils import DatabaseErrorWrapper
from psycopg.rows import namedtuple_row
from psycopg.types.json import JsonbLoader

Params = Sequence[Any] | Mapping[str, Any] | None


def rows(sql: str, params: Params = None, *, using: str = DEFAULT_DB_ALIAS) -> list[Any]:
    """Run one statement and return its rows as named tuples ([] for one that returns none).

    Raises Django's database errors (OperationalError, IntegrityError, …), as the ORM does.
    """
    connection = connections[using]
    connection.ensure_connection()
    with (
        DatabaseErrorWrapper(connection),
        psycopg.Cursor(connection.connection, row_factory=namedtuple_row) as cursor,
    ):
        cursor.adapters.register_loader("jsonb", JsonbLoader)  # Django's own leaves text
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else []


def run(sql: str, params: Params = None, *, using: str = DEFAULT_DB_ALIAS) -> int:
    """Run one statement and return how many rows it touched."""
    connection = connections[using]
    connection.ensure_connection()
    with DatabaseErrorWrapper(connection), psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(sql, params)
        return cursor.rowcount


def columns(records: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    """Turn records into the `width` column lists that `unnest` takes."""
    return [list(column) for column in zip(*records, strict=True)] or [[] for _ in range(width)]
