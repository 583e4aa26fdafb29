"""Rows that one statement writes are those that `bulk_create` would."""

from typing import Any

import pytest

from benchmarks.bulk_rows import write_rows
from signals.models import Feed
from users.models import User

FIELDS = [field.attname for field in Feed._meta.concrete_fields]
CHANGING = {"id", "slug", "name", "created_at"}


def unchanging(feed: Feed) -> dict[str, Any]:
    return {name: getattr(feed, name) for name in FIELDS if name not in CHANGING}


@pytest.mark.django_db
def test_rows_are_those_of_the_orm() -> None:
    owner = User.objects.create_user("owner")
    Feed.objects.bulk_create([Feed(slug="orm", name="By the ORM", owner=owner)])
    write_rows(
        Feed(owner=owner), "unnest(%(slugs)s::text[]) AS f (slug)",
        {"slug": "f.slug", "name": "upper(f.slug)"}, {"slugs": ["one", "two"]},
    )  # fmt: skip
    written = list(Feed.objects.exclude(slug="orm").order_by("slug"))
    assert [(feed.slug, feed.name) for feed in written] == [("one", "ONE"), ("two", "TWO")]
    expected = unchanging(Feed.objects.get(slug="orm"))
    assert [unchanging(feed) for feed in written] == [expected, expected]
