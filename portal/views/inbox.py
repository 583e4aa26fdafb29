"""The notifications of a tenant."""

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from events.models import Notification
from events.selectors import inbox as inbox_of
from events.services import mark_read
from portal.pages import current_user, page, run_action, tenants_only
from portal.selectors.inbox import pages_of

PAGE_SIZE = 40
REFRESH_SECONDS = 10


@tenants_only
def inbox(request: HttpRequest) -> HttpResponse:
    """List all notifications, or only the unread ones."""
    found = inbox_of(current_user(request).pk)
    only_unread = request.GET.get("state") == "new"
    if only_unread:
        found = found.filter(read_at=None)
    one_page = Paginator(found, PAGE_SIZE).get_page(request.GET.get("page"))
    return page(
        request,
        "inbox.html",
        one_page=one_page,
        pages=pages_of(one_page.object_list),
        only_unread=only_unread,
        refresh_seconds=REFRESH_SECONDS,
    )


@tenants_only
def read(request: HttpRequest, *, pk: int | None = None) -> HttpResponse:
    """Mark one notification as read, or all of them. Another user's is not found."""
    user = current_user(request)
    back = reverse("portal:inbox")
    if pk is not None and not Notification.objects.filter(user=user, pk=pk).exists():
        return page(request, "missing.html", status=404)
    ids = None if pk is None else [pk]

    def act() -> str:
        count = mark_read(user_id=user.pk, notification_ids=ids)
        if not count:
            return "It was already read." if ids else "There was nothing unread."
        return f"{count:,} marked as read."

    return run_action(request, act, back=back)
