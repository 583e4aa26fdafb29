"""After a test that committed the database is as the migrations left it. Thousands of tests commit.

Django's flush truncates every table there is, which makes the files of each and of its indexes
anew, and forgets what migrations wrote: a third of a second, mostly for a handful of rows. Here
those rows are copied aside once, and put back; so no test depends on which others ran before it.
"""

from django.db import connection, connections, transaction
from django.test import TransactionTestCase

MANY = 1_000  # rows of a table from which on its files are made anew all the same
ASIDE = "written_by_migrations"  # a schema
UNTOUCHED = "django_migrations"
RESTARTED = {"common_trailhead", "common_trailline"}  # a chain: its numbers go on after a test


def empty_quickly() -> None:
    """Have all tests that commit leave by `empty`."""
    TransactionTestCase._fixture_teardown = _leave  # type: ignore[attr-defined]


def _leave(case: TransactionTestCase) -> None:
    for alias in case._databases_names(include_mirrors=False):  # type: ignore[attr-defined]
        empty(alias)


def copy_aside() -> None:
    """Copy the rows that migrations wrote: `empty` puts them back."""
    quote = connection.ops.quote_name
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA IF EXISTS {ASIDE} CASCADE")
        cursor.execute(f"CREATE SCHEMA {ASIDE}")
        names = connection.introspection.table_names(cursor)
        for name in _filled(names, cursor) - {UNTOUCHED} - RESTARTED:
            cursor.execute(f"CREATE TABLE {ASIDE}.{quote(name)} AS TABLE {quote(name)}")


def empty(alias: str) -> None:
    """Leave only the rows that migrations wrote. Waits for open transactions, as TRUNCATE does.
    Sequences go on."""
    connection = connections[alias]
    quote = connection.ops.quote_name
    with transaction.atomic(alias), connection.cursor() as cursor:
        names = [n for n in connection.introspection.table_names(cursor) if n != UNTOUCHED]
        cursor.execute(f"LOCK TABLE {', '.join(map(quote, names))} IN ACCESS EXCLUSIVE MODE")
        # What the planner knows of a table, by ANALYZE or autovacuum, would mislead the next test.
        cursor.execute("SELECT relname FROM pg_class WHERE reltuples >= 0")
        truncated = {name for (name,) in cursor.fetchall()} & set(names)
        cursor.execute("SET LOCAL session_replication_role = replica")  # no trigger, in any order
        for name in _filled(names, cursor) - truncated:
            cursor.execute(f"DELETE FROM {quote(name)}")
            if cursor.rowcount >= MANY:
                truncated.add(name)
        if truncated:
            cursor.execute(f"TRUNCATE {', '.join(map(quote, sorted(truncated)))} CASCADE")
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace", [ASIDE]
        )
        for (name,) in cursor.fetchall():
            cursor.execute(
                f"INSERT INTO {quote(name)} OVERRIDING SYSTEM VALUE"
                f" SELECT * FROM {ASIDE}.{quote(name)}"
            )


def _filled(names: list[str], cursor: object) -> set[str]:
    quote = connection.ops.quote_name
    some = (f"(SELECT '{name}' FROM {quote(name)} LIMIT 1)" for name in names)
    cursor.execute(" UNION ALL ".join(some))  # type: ignore[attr-defined]
    return {name for (name,) in cursor.fetchall()}  # type: ignore[attr-defined]
