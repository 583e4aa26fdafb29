"""What a test commits is gone after it, as Django's own flush would have it."""

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.db import connection

from tests.connections import make
from tests.emptying import MANY, empty
from tests.execution import cast

pytestmark = pytest.mark.django_db(transaction=True)


def counts() -> dict[str, int]:
    """How many rows each table has, if any."""
    found = {}
    with connection.cursor() as cursor:
        for name in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT count(*) FROM "{name}"')
            [[found[name]]] = cursor.fetchall()
    return {name: count for name, count in found.items() if count}


def test_it_leaves_what_a_flush_leaves() -> None:
    cast.register()
    cast.instrument()
    feed = make.feed()
    cast.account(feed)
    cast.signal(feed)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO paper_quote (symbol, bid, ask, time)"
            " SELECT i::text, 1, 1, now() FROM generate_series(1, %s) i",
            [MANY],
        )
        cursor.execute("ANALYZE signals_signal")
    before = counts()
    empty("default")
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples FROM pg_class WHERE relname = 'signals_signal'")
        assert cursor.fetchone() == (-1,)  # nothing is known: another test's rows mislead no plan
    ours = counts()
    roles = {group.name: list(group.permissions.all()) for group in Group.objects.all()}
    with connection.cursor() as cursor:  # the audit trail refuses to be emptied
        cursor.execute("SET session_replication_role = replica")
    call_command("flush", verbosity=0, interactive=False)
    with connection.cursor() as cursor:
        cursor.execute("RESET session_replication_role")
    assert len(before) > len(ours) + 5
    assert {name: count for name, count in ours.items() if not is_of_roles(name)} == counts()
    for name, permissions in roles.items():  # a flush takes what a migration wrote; others need it
        Group.objects.create(name=name).permissions.set(
            Permission.objects.filter(codename__in=[one.codename for one in permissions])
        )
    assert ours.items() <= counts().items()


def is_of_roles(table: str) -> bool:
    return table in {"auth_group", "auth_group_permissions"}
