"""Feeds and tokens: valid and invalid access."""

from datetime import UTC, datetime, timedelta

import pytest

from alerts.inbox.addresses import address_of
from common.errors import InvalidInputError
from common.reason_codes import Code
from signals.feeds import services as feeds
from signals.models import Feed, FeedToken
from users.models import User


def assert_rejected(slug: str, secret: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        address_of(slug, secret)
    assert (caught.value.code, caught.value.detail) == (
        Code.FEED_UNKNOWN,
        Code.FEED_UNKNOWN.sentence,
    )


def test_token_is_valid_only_for_its_feed(feed: Feed, unapproved: Feed) -> None:
    token, secret = feeds.create_feed_token(feed)
    assert address_of(feed.slug, secret).token_id == token.pk
    assert_rejected(unapproved.slug, secret)
    assert_rejected("no-such-feed", secret)
    for wrong in (
        "",
        secret[:-1],
        secret + "0",
        secret[:10],
        "0" * len(secret),
        "ｘ" * 58,
        "\x00",
        "\ud800",
    ):
        assert_rejected(feed.slug, wrong)


def test_secret_of_a_token_is_not_stored(feed: Feed) -> None:
    token, secret = feeds.create_feed_token(feed)
    stored = FeedToken.objects.filter(pk=token.pk).values_list()[0]
    assert secret not in [str(value) for value in stored]
    assert secret.startswith(token.prefix)


def test_expired_revoked_and_archived_access_is_rejected(feed: Feed, provider: User) -> None:
    now = datetime.now(UTC)
    old, expired = feeds.create_feed_token(feed, "old", now + timedelta(hours=1))
    FeedToken.objects.filter(pk=old.pk).update(expires_at=now - timedelta(seconds=1))
    _, valid = feeds.create_feed_token(feed, "new", now + timedelta(hours=1))
    revoked, secret = feeds.create_feed_token(feed)
    assert feeds.revoke_feed_token(revoked.pk) is True
    assert feeds.revoke_feed_token(revoked.pk) is False
    assert_rejected(feed.slug, expired)
    assert_rejected(feed.slug, secret)
    assert address_of(feed.slug, valid).feed == feed
    User.objects.filter(pk=provider.pk).update(is_active=False)
    assert_rejected(feed.slug, valid)
    User.objects.filter(pk=provider.pk).update(is_active=True)
    assert feeds.archive_feed(feed.pk) is True
    assert feeds.archive_feed(feed.pk) is False
    assert_rejected(feed.slug, valid)


@pytest.mark.parametrize("slug", ["Über", "a b", "A", "-", "x" * 61, "majors"])
def test_invalid_slug_is_rejected(feed: Feed, provider: User, slug: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        feeds.create_feed(owner=provider, name="x", slug=slug)
    assert (caught.value.code, caught.value.field) == (Code.FIELD_INVALID, "slug")
    assert list(Feed.objects.values_list("slug", flat=True)) == ["majors"]


def test_name_without_letters_is_rejected(provider: User) -> None:
    with pytest.raises(InvalidInputError):
        feeds.create_feed(owner=provider, name="!!!")
    assert not Feed.objects.exists()
