"""API keys from before there were scopes and ends: what the migration makes of them."""

from datetime import datetime, timedelta
from importlib import import_module

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from common.permissions import Role, Scope
from tests.connections import make
from tests.roles import staff
from users.models import ApiKey, User

pytestmark = pytest.mark.django_db
ALL = [scope.value for scope in Scope]


def key_of(user: User, *, ends: datetime | None) -> int:
    """A key as it was before: all scopes, and no end unless one was given."""
    key = ApiKey.objects.create(
        user=user, name="k", prefix=f"p{user.pk}", secret_hash="h", scopes=ALL,
        expires_at=timezone.now(),
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute("UPDATE users_apikey SET expires_at = %s WHERE id = %s", [ends, key.pk])
    return key.pk


def migrate_keys() -> None:
    migration = import_module("users.migrations.0013_keys_end")
    with connection.cursor() as cursor:
        cursor.execute(migration.END)
        cursor.execute(migration.NARROW)


def test_a_key_from_before_ends_in_ninety_days_with_the_scopes_of_its_owner() -> None:
    now = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE users_apikey ALTER expires_at DROP NOT NULL")
    root = User.objects.create_superuser("root", password="x" * 12)
    expected = {
        key_of(make.user("tenant"), ends=None): ALL,
        key_of(staff(Role.ADMINISTRATOR), ends=None): ALL,
        key_of(staff(Role.OPERATOR), ends=now + timedelta(days=4000)): ALL,
        key_of(staff(Role.RISK_OFFICER), ends=None): ["read", "operate"],
        key_of(staff(Role.SUPPORT), ends=None): ["read"],
        key_of(root, ends=None): ALL,
    }
    soon = key_of(make.user("careful"), ends=now + timedelta(days=5))
    migrate_keys()
    keys = {key.pk: key for key in ApiKey.objects.all()}
    assert {pk: keys[pk].scopes for pk in expected} == expected
    ends = {keys[pk].expires_at - now for pk in expected}
    assert all(timedelta(days=89) < end < timedelta(days=91) for end in ends), ends
    assert keys[soon].expires_at == now + timedelta(days=5)


def test_the_database_keeps_no_key_without_an_end() -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        key_of(make.user("tenant"), ends=None)
