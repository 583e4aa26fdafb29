"""What the pages of a provider's feed share."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from portal.pages import page
from portal.selectors.publishing import approval_of
from signals.models import Feed


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
    return reverse(f"portal:{name}", kwargs={"slug": feed.slug, **more})
