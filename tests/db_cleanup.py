"""Restore the database after a test that committed to its state after the migrations.

Django's flush truncates all tables, which recreates all their files and deletes the rows that
migrations wrote. That takes a third of a second, mostly for a handful of rows. Here those rows are
copied once and restored after each test, so no test depends on which tests ran before it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, connections, transaction
from django.test import TransactionTestCase

MANY = 1_000  # from this number of rows on, a table is truncated
ASIDE = "written_by_migrations"  # a schema
UNTOUCHED = "django_migrations"
CLEANING = "fillcast-tests-clean-up"  # its sessions are used again for nothing else
RESTARTED = {"common_trailhead", "common_trailline"}  # a chain whose numbers continue after a test
_aside: list[str] = []  # tables that migrations wrote to
_as_written: dict[str, tuple[int, int]] = {}  # see _state


def empty_quickly() -> None:
    """Make all tests that commit clean up with `empty`."""
    TransactionTestCase._fixture_teardown = _leave  # type: ignore[attr-defined]


def _leave(case: TransactionTestCase) -> None:
    for alias in case._databases_names(include_mirrors=False):  # type: ignore[attr-defined]
        empty(alias)


def copy_aside() -> None:
    """Copy the rows that migrations wrote, for `empty` to restore."""
    quote = connection.ops.quote_name
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA IF EXISTS {ASIDE} CASCADE")
        cursor.execute(f"CREATE SCHEMA {ASIDE}")
        filled = _filled(_tables(cursor), cursor)
        _aside[:] = sorted(filled - RESTARTED)
        for name in _aside:
            cursor.execute(f"CREATE TABLE {ASIDE}.{quote(name)} AS TABLE {quote(name)}")
        cursor.execute("SET LOCAL session_replication_role = replica")
        for name in sorted(RESTARTED):  # so that the first test starts as all others do
            cursor.execute(f"DELETE FROM {quote(name)}")
        _as_written.update(_state(cursor))


def empty(alias: str) -> None:
    """Delete all rows but those that migrations wrote. Sequences are not reset.

    Waits for open transactions, as TRUNCATE does.
    """
    quote = connections[alias].ops.quote_name
    with _cursor(alias) as cursor:
        names = ", ".join(map(quote, _tables(cursor)))
        cursor.execute(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE")
        # Truncate tables with statistics of ANALYZE or autovacuum, which would mislead the planner
        # in the next test.
        truncated = set(_tables(cursor, "reltuples >= 0"))
        state = _state(cursor)
        intact = {name for name in _aside if state[name] == _as_written[name]} - truncated
        cursor.execute("SET LOCAL session_replication_role = replica")  # no trigger, in any order
        candidates = set(_tables(cursor, "pg_relation_size(oid) > 0")) - truncated - intact
        for name in _filled(sorted(candidates), cursor):
            cursor.execute(f"DELETE FROM {quote(name)}")
            if cursor.rowcount >= MANY:
                truncated.add(name)
        if truncated:
            cursor.execute(f"TRUNCATE {', '.join(map(quote, sorted(truncated)))} CASCADE")
            intact.clear()  # CASCADE may have truncated them too
        for name in sorted(set(_aside) - intact):
            cursor.execute(f"DELETE FROM {quote(name)}")
            cursor.execute(
                f"INSERT INTO {quote(name)} OVERRIDING SYSTEM VALUE"
                f" SELECT * FROM {ASIDE}.{quote(name)}"
            )
        if intact != set(_aside):
            _as_written.update(_state(cursor))


@contextmanager
def _cursor(alias: str) -> Iterator[Any]:
    """Yield a cursor in a transaction, of a session of its own.

    To change session_replication_role makes a session forget all its plans, which the next test
    would have to make again. A test that is in a transaction needs its own session: only that sees
    its rows.
    """
    used = connections[alias]
    if used.in_atomic_block:
        with transaction.atomic(alias), used.cursor() as cursor:
            yield cursor
        return
    own = used.copy()
    own.settings_dict["OPTIONS"] = {**own.settings_dict["OPTIONS"], "application_name": CLEANING}
    try:
        with own.cursor() as cursor:
            cursor.execute("BEGIN")
            yield cursor
            cursor.execute("COMMIT")
    finally:
        own.close()


def _tables(cursor: Any, condition: str = "true") -> list[str]:
    cursor.execute(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname <> %s"
        f" AND relnamespace = 'public'::regnamespace AND {condition}",
        [UNTOUCHED],
    )
    return [name for (name,) in cursor.fetchall()]


def _state(cursor: Any) -> dict[str, tuple[int, int]]:
    """Return the row count and the newest writing transaction of each table that migrations wrote
    to; any change of rows changes one of them.
    """
    quote = connection.ops.quote_name
    some = (
        f"(SELECT '{name}', count(*), max(xmin::text::bigint) FROM {quote(name)})"
        for name in _aside
    )
    cursor.execute(" UNION ALL ".join(some))
    return {name: (number, last) for name, number, last in cursor.fetchall()}


def _filled(names: list[str], cursor: Any) -> set[str]:
    if not names:
        return set()
    quote = connection.ops.quote_name
    some = (f"(SELECT '{name}' FROM {quote(name)} LIMIT 1)" for name in names)
    cursor.execute(" UNION ALL ".join(some))
    return {name for (name,) in cursor.fetchall()}
