"""Return rows that no statement orders the other way round.

PostgreSQL mostly returns them as they were written, until a row takes the place of a deleted one. A
test, or code, that relies on it fails once in a thousand runs; so it fails in each. TEST_ROW_ORDER=
natural leaves them as they come, to see whether a failure is one of this kind.
"""

import os
import re
from functools import cache
from typing import Any

from django.db.models.sql import Query
from django.db.models.sql.compiler import SQLCompiler
from django.db.models.sql.constants import MULTI

from common.db import sql as raw_sql

_IN_PARENTHESES = re.compile(r"\([^()]*\)")
_ORDERED = re.compile(r"\bORDER\s+BY\b", re.IGNORECASE)


def reverse_unordered_rows() -> None:
    """Let the ORM and `common.db.sql` return rows without an order in reverse."""
    if os.environ.get("TEST_ROW_ORDER") == "natural":
        return
    _reverse_rows_of_the_orm()
    _reverse_rows_of_statements()


def _reverse_rows_of_the_orm() -> None:
    execute: Any = SQLCompiler.execute_sql

    def reversed_if_unordered(
        compiler: Any, result_type: str = MULTI, *given: Any, **named: Any
    ) -> Any:
        found = execute(compiler, result_type, *given, **named)
        if result_type == MULTI and isinstance(found, list) and not _is_ordered_query(compiler):
            return [chunk[::-1] for chunk in reversed(found)]
        return found

    setattr(SQLCompiler, "execute_sql", reversed_if_unordered)  # noqa: B010 - mypy knows its types


def _is_ordered_query(compiler: Any) -> bool:
    query: Query = compiler.query
    if query.extra_order_by or query.order_by:
        return True
    return bool(query.default_ordering and query.get_meta().ordering and not query.group_by)


def _reverse_rows_of_statements() -> None:
    fetched: Any = raw_sql._fetched

    def reversed_if_unordered(cursor: Any, statement: str) -> list[Any]:
        found: list[Any] = fetched(cursor, statement)
        return found if len(found) < 2 or is_ordered(str(statement)) else found[::-1]

    setattr(raw_sql, "_fetched", reversed_if_unordered)  # noqa: B010


@cache
def is_ordered(statement: str) -> bool:
    """Whether the rows that a statement returns have an order, not only those of a part of it."""
    outside = statement
    while outside != (shorter := _IN_PARENTHESES.sub(" ", outside)):
        outside = shorter
    return _ORDERED.search(outside) is not None
