"""A prepared look-up finds what Django's own query finds."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from common.db.prepared_lookup import PreparedLookup
from tests.connections import make
from users.models import ApiKey, SecondFactor, User
from users.services import create_api_key

pytestmark = pytest.mark.django_db


def test_prepared_lookup_returns_row_and_related_rows() -> None:
    keys = [create_api_key(make.user(name), name)[0] for name in ("alice", "bob")]
    lookup = PreparedLookup(lambda: ApiKey.objects.select_related("user").filter(prefix="p"))
    for key in keys:
        with CaptureQueriesContext(connection) as sent:
            found = lookup.first(key.prefix)
            assert found is not None
            owner = found.user
        assert len(sent) == 1
        stored = ApiKey.objects.select_related("user").get(pk=key.pk)
        for mine, theirs in ((found, stored), (owner, stored.user)):
            values = [
                getattr(user, f.attname)
                for f in mine._meta.concrete_fields
                for user in (mine, theirs)
            ]
            assert values[::2] == values[1::2]
            assert not mine.get_deferred_fields()
            assert mine._state.adding is False
    assert lookup.first("none") is None


def test_prepared_lookup_reports_missing_row() -> None:
    without, with_one = make.user("alice"), make.user("bob")
    SecondFactor.objects.create(user=with_one, sealed_secret=b"sealed", last_step=3)
    lookup = PreparedLookup(lambda: User.objects.select_related("second_factor").filter(pk=1))
    with CaptureQueriesContext(connection) as sent:
        first, second = (lookup.first(user.pk) for user in (without, with_one))
        assert first is not None
        assert second is not None
        assert not hasattr(first, "second_factor")
        assert bytes(second.second_factor.sealed_secret) == b"sealed"
        assert second.second_factor.user is second
    assert len(sent) == 2
