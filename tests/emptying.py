"""The database is emptied after a test that committed: quickly, since thousands of tests do.

Django's flush truncates every table there is, which makes the files of each and of its indexes
anew, and writes its own tables' rows again: a third of a second, mostly for a handful of rows.
"""

from django.db import connections, transaction
from django.test import TransactionTestCase

KEPT = {"django_content_type", "auth_permission"}  # flush would write the same rows again
MANY = 1_000  # rows of a table from which on what they leave behind is cleared away at once


def empty_quickly() -> None:
    """Have all tests that commit leave by `empty`."""
    TransactionTestCase._fixture_teardown = _leave  # type: ignore[attr-defined]


def _leave(case: TransactionTestCase) -> None:
    for alias in case._databases_names(include_mirrors=False):  # type: ignore[attr-defined]
        empty(alias)


def empty(alias: str) -> None:
    """Delete all rows. Waits for whoever is still writing, as TRUNCATE does. Sequences go on."""
    connection, many = connections[alias], []
    quote = connection.ops.quote_name
    with transaction.atomic(alias), connection.cursor() as cursor:
        names = connection.introspection.table_names(cursor)
        names = [name for name in names if name != "django_migrations" and name not in KEPT]
        cursor.execute(f"LOCK TABLE {', '.join(map(quote, names))} IN ACCESS EXCLUSIVE MODE")
        some = (f"(SELECT '{name}' FROM {quote(name)} LIMIT 1)" for name in names)
        cursor.execute(" UNION ALL ".join(some))
        filled = [name for (name,) in cursor.fetchall()]
        cursor.execute("SET LOCAL session_replication_role = replica")  # no trigger, in any order
        for name in filled:
            cursor.execute(f"DELETE FROM {quote(name)}")
            if cursor.rowcount >= MANY:
                many.append(name)
    with connection.cursor() as cursor:
        for name in many:
            cursor.execute(f"VACUUM {quote(name)}")
