"""Which feeds the pages of a provider find: one's own; for alerts and Telegram no archived one."""

import pytest
from django.http import Http404
from django.urls import reverse
from django.utils import timezone

from portal.selectors.publishing import own_feed
from signals.models import Feed
from tests.portal.conftest import SignedIn
from tests.portal.factories import World

pytestmark = pytest.mark.django_db


def test_only_own_feeds_are_found(world: World) -> None:
    slug = world.breakout.slug
    assert own_feed(world.paula, slug) == world.breakout
    with pytest.raises(Http404):
        own_feed(world.alice, slug, with_archived=True)


def test_archived_feed_has_its_pages_but_no_alerts(world: World, signed_in: SignedIn) -> None:
    client, slug = signed_in(world.paula), world.breakout.slug
    names = ("alerts", "telegram", "publishing_feed")

    def answers() -> dict[str, int]:
        return {
            name: client.get(reverse(f"portal:{name}", args=[slug])).status_code for name in names
        }

    assert answers() == dict.fromkeys(names, 200)
    Feed.objects.filter(slug=slug).update(archived_at=timezone.now())
    assert answers() == {"alerts": 404, "telegram": 404, "publishing_feed": 200}
