from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from common.errors import ConflictError, InvalidInputError, NotAllowedError
from common.permissions import Right, Role
from common.reason_codes import Code
from tests.connections import make
from tests.roles import staff
from users import services
from users.models import ApiKey, User
from users.privileges import roles_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def carol() -> User:
    return make.user("carol")


def test_api_key_authenticates_its_user_and_only_hash_is_stored(carol: User) -> None:
    key, secret = services.create_api_key(carol, "robot")
    assert services.user_for_key(secret) == carol
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_jsonb(k)::text FROM users_apikey k")
        stored = cursor.fetchone()[0]
    assert secret not in stored
    assert secret.split("_", 2)[2] not in stored
    assert key.prefix in secret


def test_database_requires_api_key_expiry(carol: User) -> None:
    key, _ = services.create_api_key(carol, "robot")
    with pytest.raises(IntegrityError), transaction.atomic():
        ApiKey.objects.filter(pk=key.pk).update(expires_at=None)


def test_api_keys_differ(carol: User) -> None:
    assert len({services.create_api_key(carol, "k")[1] for _ in range(20)}) == 20


def test_wrong_api_key_is_rejected(carol: User) -> None:
    _key, secret = services.create_api_key(carol, "robot")
    last = "A" if secret[-1] != "A" else "B"
    random = secret.split("_", 2)[2]
    wrong = ["", "fc", "fc__", secret[:-1], secret[:-1] + last, "xx" + secret[2:], secret + "A"]
    wrong += [secret.upper(), "fc_ффф_x", f"fc_{'0' * 12}_{random}", "\ud800", "fc_\0_x"]
    assert [services.user_for_key(text) for text in wrong] == [None] * len(wrong)


def test_expired_revoked_and_deactivated_keys_are_rejected(carol: User) -> None:
    key, secret = services.create_api_key(
        carol, "k", expires_at=timezone.now() + timedelta(hours=1)
    )
    assert services.user_for_key(secret) == carol
    ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now())
    assert services.user_for_key(secret) is None
    ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now() + timedelta(hours=1))
    User.objects.filter(pk=carol.pk).update(is_active=False)
    assert services.user_for_key(secret) is None
    User.objects.filter(pk=carol.pk).update(is_active=True)
    assert services.user_for_key(secret) == carol
    assert services.revoke_api_key(key.pk, by=carol) is True
    assert services.revoke_api_key(key.pk, by=carol) is False
    assert services.user_for_key(secret) is None
    with pytest.raises(InvalidInputError):
        services.create_api_key(carol, "k", expires_at=timezone.now())


def test_foreign_key_cannot_be_revoked(carol: User) -> None:
    key, secret = services.create_api_key(carol, "k")
    with pytest.raises(NotAllowedError):
        services.revoke_api_key(key.pk, by=make.user("mallory"))
    assert services.user_for_key(secret) == carol
    assert services.revoke_api_key(key.pk, by=make.user(is_staff=True)) is True


def test_api_key_use_is_recorded_once_a_minute(carol: User) -> None:
    key, secret = services.create_api_key(carol, "k")
    services.user_for_key(secret)
    key.refresh_from_db()
    first = key.last_used_at
    assert first is not None
    services.user_for_key(secret)
    key.refresh_from_db()
    assert key.last_used_at == first
    long_ago = first - timedelta(minutes=2)
    ApiKey.objects.update(last_used_at=long_ago)
    services.user_for_key(secret)
    key.refresh_from_db()
    assert key.last_used_at > long_ago


def test_administrators_create_users_with_strong_passwords(carol: User) -> None:
    administrator = staff(Role.ADMINISTRATOR)
    dave = services.create_user("dave", "correct horse battery", by=administrator)
    assert (dave.is_staff, roles_of(dave)) == (False, set())
    assert dave.check_password("correct horse battery")
    olga = services.create_user("olga", "correct horse battery", roles=[Role.OPERATOR])
    assert (olga.is_operator, roles_of(olga)) == (True, {Role.OPERATOR})
    with pytest.raises(ConflictError):
        services.create_user("dave", "correct horse battery", by=administrator)
    with pytest.raises(InvalidInputError) as weak:
        services.create_user("eve", "12345678", by=administrator)
    assert weak.value.field == "password"
    for by in (carol, olga):
        with pytest.raises(NotAllowedError):
            services.create_user("eve", "correct horse battery", by=by)


def assert_not_allowed(code: Code, act: Callable[..., Any], *args: Any, **more: Any) -> None:
    """It raises NotAllowedError with this code."""
    with pytest.raises(NotAllowedError) as error:
        act(*args, **more)
    assert error.value.code == code


@pytest.mark.parametrize(
    "change", [{"roles": [Role.OPERATOR]}, {"is_superuser": True}, {"is_active": False}]
)
def test_own_rights_cannot_be_changed(carol: User, change: dict[str, Any]) -> None:
    assert_not_allowed(Code.RIGHT_MISSING, services.change_rights, carol.pk, by=carol, **change)
    for who in (staff(Role.ADMINISTRATOR), User.objects.create_superuser("root")):
        assert_not_allowed(Code.OWN_RIGHTS, services.change_rights, who.pk, by=who, **change)


def test_only_superuser_creates_and_changes_superusers(carol: User) -> None:
    administrator, root = staff(Role.ADMINISTRATOR), User.objects.create_superuser("root")
    above_own = Code.RIGHTS_ABOVE_OWN
    assert_not_allowed(
        above_own, services.change_rights, carol.pk, by=administrator, is_superuser=True
    )
    assert_not_allowed(
        above_own, services.change_rights, root.pk, by=administrator, is_active=False
    )
    assert_not_allowed(above_own, services.change_rights, root.pk, by=administrator, roles=[])
    assert_not_allowed(
        above_own, services.update_profile, root.pk, by=administrator, email="mine@example.com"
    )
    assert_not_allowed(above_own, services.create_api_key, root, "k", by=administrator)
    key, _ = services.create_api_key(root, "k")
    assert_not_allowed(above_own, services.revoke_api_key, key.pk, by=administrator)
    assert services.change_rights(carol.pk, by=root, is_superuser=True) is True
    assert services.change_rights(carol.pk, by=root, is_superuser=True) is False
    carol.refresh_from_db()
    assert (carol.is_superuser, carol.is_staff) == (True, True)


def test_roles_make_user_staff_and_no_role_a_tenant(carol: User) -> None:
    administrator = staff(Role.ADMINISTRATOR)
    change = partial(services.change_rights, carol.pk, by=administrator)
    assert change(roles=[Role.SUPPORT]) is True
    assert change(roles=[Role.SUPPORT]) is False
    assert User.objects.get(pk=carol.pk).is_operator
    assert change(roles=[], is_active=False) is True
    carol.refresh_from_db()
    assert (carol.is_staff, carol.is_active, roles_of(carol)) == (False, False, set())


def test_groups_that_are_no_roles_stay(carol: User) -> None:
    carol.groups.add(Group.objects.create(name="desk"))
    services.change_rights(carol.pk, by=None, roles=[Role.SUPPORT])
    services.change_rights(carol.pk, by=None, roles=[])
    assert list(carol.groups.values_list("name", flat=True)) == ["desk"]


def test_rights_above_own_cannot_be_granted_or_changed(carol: User) -> None:
    """A right granted directly, not by a role, lets its user grant no more."""
    manager = staff(Role.SUPPORT)
    names = [Right.USERS.value, Right.API_KEYS.value]
    manager.user_permissions.set(Permission.objects.filter(codename__in=names))
    operator, above_own = staff(Role.OPERATOR), Code.RIGHTS_ABOVE_OWN
    assert services.change_rights(carol.pk, by=manager, roles=[Role.SUPPORT]) is True
    for role in (Role.OPERATOR, Role.RISK_OFFICER, Role.ADMINISTRATOR):
        assert_not_allowed(above_own, services.change_rights, carol.pk, by=manager, roles=[role])
    assert_not_allowed(above_own, services.change_rights, operator.pk, by=manager, roles=[])
    assert_not_allowed(above_own, services.change_rights, operator.pk, by=manager, is_active=False)
    assert_not_allowed(above_own, services.create_api_key, operator, "k", by=manager)
    assert services.create_api_key(carol, "k", by=manager)
    gone = staff(Role.OPERATOR, is_active=False)  # nor when they are switched off
    assert_not_allowed(above_own, services.change_rights, gone.pk, by=manager, is_active=True)


def test_superuser_can_be_created_from_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "correct horse battery")
    call_command("createsuperuser", "--noinput", username="root", email="root@example.com")
    root = User.objects.get(username="root")
    assert root.is_operator
    assert root.check_password("correct horse battery")
