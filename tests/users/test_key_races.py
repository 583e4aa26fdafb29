"""A key is revoked while another is made with it: it is either refused, or revoked as well."""

from datetime import timedelta

import pytest
from django.utils import timezone

from common.errors import NotAllowedError
from tests.changes.concurrent_forms import at_once
from tests.connections import make
from users.models import ApiKey, User
from users.services import create_api_key, revoke_api_key, user_for_key

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stolen() -> tuple[ApiKey, User]:
    """Return a key, and its owner as a request with it knows them."""
    key, secret = create_api_key(make.user("alice"), "robot")
    caller = user_for_key(secret)
    assert caller is not None
    return key, caller


def make_second(caller: User) -> ApiKey:
    end = timezone.now() + timedelta(days=1)
    return create_api_key(caller, "second", expires_at=end, by=caller)[0]


def test_key_that_is_being_made_is_revoked_with_its_parent(stolen: tuple[ApiKey, User]) -> None:
    parent, caller = stolen
    answers = at_once(parent, lambda: revoke_api_key(parent.pk), holder=lambda: make_second(caller))
    assert answers == [True]
    assert ApiKey.objects.get(name="second").revoked_at is not None


def test_key_that_is_being_revoked_makes_no_key(stolen: tuple[ApiKey, User]) -> None:
    parent, caller = stolen
    (refused,) = at_once(
        parent, lambda: make_second(caller), holder=lambda: revoke_api_key(parent.pk)
    )
    assert isinstance(refused, NotAllowedError)
    assert not ApiKey.objects.filter(name="second").exists()
