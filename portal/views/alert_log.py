"""The log of a feed's alerts, for its provider."""

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from alerts.inbox.log import alerts_of, entries_for, state_of
from alerts.models import AlertState
from common.errors import InvalidInputError
from portal.pages import current_user, page, tenants_only
from signals.models import Feed

PAGE_SIZE = 40
LISTED = 4_000  # the newest; a busy feed has a million in a week, which the API lists
REFRESH_SECONDS = 5


@tenants_only
def alert_log(request: HttpRequest, *, slug: str) -> HttpResponse:
    """Show the alerts of a feed of one's own, the newest first, and what became of each."""
    feed = get_object_or_404(Feed, slug=slug, owner=current_user(request))
    try:
        state = state_of(request.GET.get("state", ""))
    except InvalidInputError:  # typed by hand
        state = None
    newest = alerts_of(feed, state=state)[:LISTED]
    one_page = Paginator(newest, PAGE_SIZE).get_page(request.GET.get("page"))
    return page(
        request,
        "alert_log.html",
        feed=feed,
        one_page=one_page,
        entries=entries_for(list(one_page)),
        state=state,
        states=AlertState,
        refresh_seconds=REFRESH_SECONDS,
    )
