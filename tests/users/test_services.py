"""API keys and roles."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from common.errors import ConflictError, InvalidInputError, NotAllowedError
from tests.connections import make
from users import services
from users.models import ApiKey, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def carol() -> User:
    return make.user("carol")


def test_a_key_opens_for_its_user_and_only_its_hash_is_stored(carol: User) -> None:
    key, secret = services.create_api_key(carol, "robot")
    assert services.user_for_key(secret) == carol
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_jsonb(k)::text FROM users_apikey k")
        stored = cursor.fetchone()[0]
    assert secret not in stored
    assert secret.split("_", 2)[2] not in stored
    assert key.prefix in secret


def test_two_keys_differ(carol: User) -> None:
    assert len({services.create_api_key(carol, "k")[1] for _ in range(20)}) == 20


def test_no_wrong_key_opens(carol: User) -> None:
    _key, secret = services.create_api_key(carol, "robot")
    last = "A" if secret[-1] != "A" else "B"
    random = secret.split("_", 2)[2]
    wrong = ["", "fc", "fc__", secret[:-1], secret[:-1] + last, "xx" + secret[2:], secret + "A"]
    wrong += [secret.upper(), "fc_ффф_x", f"fc_{'0' * 12}_{random}", "\ud800", "fc_\0_x"]
    assert [services.user_for_key(text) for text in wrong] == [None] * len(wrong)


def test_expired_revoked_and_deactivated(carol: User) -> None:
    key, secret = services.create_api_key(
        carol, "k", expires_at=timezone.now() + timedelta(hours=1)
    )
    assert services.user_for_key(secret) == carol
    ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now())
    assert services.user_for_key(secret) is None
    ApiKey.objects.filter(pk=key.pk).update(expires_at=None)
    User.objects.filter(pk=carol.pk).update(is_active=False)
    assert services.user_for_key(secret) is None
    User.objects.filter(pk=carol.pk).update(is_active=True)
    assert services.user_for_key(secret) == carol
    assert services.revoke_api_key(key.pk, by=carol) is True
    assert services.revoke_api_key(key.pk, by=carol) is False
    assert services.user_for_key(secret) is None
    with pytest.raises(InvalidInputError):
        services.create_api_key(carol, "k", expires_at=timezone.now())


def test_nobody_revokes_anothers_key(carol: User) -> None:
    key, secret = services.create_api_key(carol, "k")
    with pytest.raises(NotAllowedError):
        services.revoke_api_key(key.pk, by=make.user("mallory"))
    assert services.user_for_key(secret) == carol
    assert services.revoke_api_key(key.pk, by=make.user(is_staff=True)) is True


def test_use_is_noted_once_a_minute(carol: User) -> None:
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


def test_users_are_made_by_operators_with_a_password_that_holds(carol: User) -> None:
    operator = make.user(is_staff=True)
    dave = services.create_user("dave", "correct horse battery", by=operator)
    assert not dave.is_operator
    assert dave.check_password("correct horse battery")
    assert services.create_user("olga", "correct horse battery", is_operator=True).is_operator
    with pytest.raises(ConflictError):
        services.create_user("dave", "correct horse battery", by=operator)
    with pytest.raises(InvalidInputError) as weak:
        services.create_user("eve", "12345678", by=operator)
    assert weak.value.field == "password"
    with pytest.raises(NotAllowedError):
        services.create_user("eve", "correct horse battery", by=carol)


def test_nobody_raises_themselves(carol: User) -> None:
    operator = make.user(is_staff=True)
    with pytest.raises(NotAllowedError):
        services.set_role(carol.pk, is_operator=True, by=carol)
    with pytest.raises(NotAllowedError):
        services.set_role(operator.pk, is_operator=False, by=operator)
    assert services.set_role(carol.pk, is_operator=True, by=operator) is True
    assert services.set_role(carol.pk, is_operator=True, by=operator) is False
    assert User.objects.get(pk=carol.pk).is_operator


def test_a_superuser_can_be_made_from_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "correct horse battery")
    call_command("createsuperuser", "--noinput", username="root", email="root@example.com")
    root = User.objects.get(username="root")
    assert root.is_operator
    assert root.check_password("correct horse battery")
