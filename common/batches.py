"""Data migrations in steps: each range of ids is a transaction of its own, and locks little."""

from typing import Any

from django.db import transaction

BATCH = 5000


def run_by_id(connection: Any, table: str, *statements: str, size: int = BATCH) -> None:
    """Run statements for one range of a table's ids after another, each range in one transaction.

    Statements take %(first)s and %(last)s. A migration that does this has `atomic = False`, and its
    statements change nothing when they run again: an interrupted one begins at the start.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT coalesce(min(id), 0), coalesce(max(id), -1) FROM {table}")
        first, end = cursor.fetchone()
    while first <= end:
        last = first + size - 1
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement, {"first": first, "last": last})
        first = last + 1
