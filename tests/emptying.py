"""The database is emptied after a test that committed: quickly, since thousands of tests do.

Django's flush truncates every table there is, which makes the files of each and of its indexes
anew, and writes its own tables' rows again: a third of a second, mostly for a handful of rows.
"""

from django.db import connections, transaction
from django.test import TransactionTestCase

KEPT = {  # what migrations wrote for good
    "django_content_type", "auth_permission", "auth_group", "auth_group_permissions",
}  # fmt: skip
MANY = 1_000  # rows of a table from which on its files are made anew all the same


def empty_quickly() -> None:
    """Have all tests that commit leave by `empty`."""
    TransactionTestCase._fixture_teardown = _leave  # type: ignore[attr-defined]


def _leave(case: TransactionTestCase) -> None:
    for alias in case._databases_names(include_mirrors=False):  # type: ignore[attr-defined]
        empty(alias)


def empty(alias: str) -> None:
    """Delete all rows. Waits for whoever is still writing, as TRUNCATE does. Sequences go on."""
    connection = connections[alias]
    quote = connection.ops.quote_name
    with transaction.atomic(alias), connection.cursor() as cursor:
        names = connection.introspection.table_names(cursor)
        names = [name for name in names if name != "django_migrations" and name not in KEPT]
        cursor.execute(f"LOCK TABLE {', '.join(map(quote, names))} IN ACCESS EXCLUSIVE MODE")
        # What the planner knows of a table, by ANALYZE or autovacuum, would mislead the next test.
        cursor.execute("SELECT relname FROM pg_class WHERE reltuples >= 0")
        afresh = {name for (name,) in cursor.fetchall()} & set(names)
        some = (f"(SELECT '{name}' FROM {quote(name)} LIMIT 1)" for name in names)
        cursor.execute(" UNION ALL ".join(some))
        filled = {name for (name,) in cursor.fetchall()}
        cursor.execute("SET LOCAL session_replication_role = replica")  # no trigger, in any order
        for name in filled - afresh:
            cursor.execute(f"DELETE FROM {quote(name)}")
            if cursor.rowcount >= MANY:
                afresh.add(name)
        if afresh:
            cursor.execute(f"TRUNCATE {', '.join(map(quote, sorted(afresh)))} CASCADE")
