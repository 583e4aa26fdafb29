"""Rows that a test commits are deleted after it, and the rows of migrations are restored."""

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django_celery_beat.models import PeriodicTask

from tests.connections import make
from tests.db_cleanup import ASIDE, MANY, UNTOUCHED, empty
from tests.execution import factories

pytestmark = pytest.mark.usefixtures("inline_commits")


def contents(schema: str) -> dict[str, list[tuple[object, ...]]]:
    """Return the rows of each table that has any."""
    tables = {}
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema])
        for (name,) in cursor.fetchall():
            cursor.execute(f'SELECT * FROM {schema}."{name}" ORDER BY 1')
            tables[name] = cursor.fetchall()
    return {name: rows for name, rows in tables.items() if rows and name != UNTOUCHED}


def test_cleanup_leaves_only_rows_written_by_migrations() -> None:
    factories.register()
    factories.instrument()
    feed = make.feed()
    factories.account(feed)
    factories.signal(feed)
    PeriodicTask.objects.all().delete()
    Group.objects.first().delete()  # type: ignore[union-attr]
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO paper_quote (symbol, bid, ask, time)"
            " SELECT i::text, 1, 1, now() FROM generate_series(1, %s) i",
            [MANY],
        )
        cursor.execute("ANALYZE signals_signal")
    before = contents("public")
    empty("default")
    after = contents("public")
    assert after == contents(ASIDE)
    assert len(before) > len(after) + 5
    assert {"auth_group", "django_celery_beat_periodictask"} <= after.keys()
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples FROM pg_class WHERE relname = 'signals_signal'")
        assert cursor.fetchone() == (-1,)  # no statistics that could mislead another test's plans


@pytest.mark.django_db(transaction=True)
def test_cleanup_does_not_use_the_session_of_the_test() -> None:
    """It would forget its plans."""
    Group.objects.create(name="committed")

    def refuse(_: Any, sql: str, *__: Any) -> None:
        pytest.fail(f"sent by the session of the test: {sql}")

    with connection.execute_wrapper(refuse):
        empty("default")
    assert not Group.objects.filter(name="committed").exists()
