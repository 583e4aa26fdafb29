"""What the pages of a provider's feed share."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse

from portal.pages import current_user, page
from portal.selectors.publishing import approval_of, my_feeds
from signals.models import Feed


def find_feed(request: HttpRequest, slug: str) -> Feed:
    """Return one of the user's own feeds. Raises Http404."""
    found: Feed = get_object_or_404(my_feeds(current_user(request)), slug=slug)
    return found


def feed_page(
    request: HttpRequest, template: str, feed: Feed, tab: str, *, status: int = 200, **context: Any
) -> HttpResponse:
    """Render a page of a feed, with its head and tabs. tab: the current one."""
    requested = bool(getattr(feed, "is_requested", False))
    approval = approval_of(feed, is_requested=requested)
    return page(
        request, f"publishing/{template}", status=status, feed=feed, tab=tab, approval=approval,
        **context,
    )  # fmt: skip


def address(name: str, feed: Feed, **more: Any) -> str:
    """Return the address of a page of a feed."""
    return reverse(f"portal:{name}", kwargs={"slug": feed.slug, **more})
