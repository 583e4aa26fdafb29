"""A user's own data: ask for an archive, follow how far it is, download it."""

from typing import Any

from django.contrib import messages
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
)
from django.urls import reverse
from django.utils import timezone

from common.web.streaming import StreamedResponse
from portal.pages import current_user, run_action
from portal.views.keys import own_page, signed_in_only
from users.models import DataExport
from users.people import data_export

State = DataExport.State
REFRESH_SECONDS = 2


@signed_in_only
def own_data(request: HttpRequest) -> HttpResponse:
    """Show the archive, or how far it is; ask for a new one."""
    user, back = current_user(request), reverse("security:data")
    if request.method == "POST":

        def ask() -> str:
            data_export.request_export(user)
            return "Your archive is being made. You can leave this page."

        return run_action(request, ask, back=back)
    export = data_export.export_of(user)
    is_working = export is not None and export.state in (State.WAITING, State.RUNNING)
    context: dict[str, Any] = {
        "export": export,
        "is_working": is_working,
        "is_ready": export is not None and export.state == State.READY,
        "refresh_seconds": REFRESH_SECONDS if is_working else 0,
    }
    return own_page(request, "data.html", **context)


@signed_in_only
def download(request: HttpRequest) -> HttpResponse:
    """Send the archive to its owner, part by part."""
    user = current_user(request)
    export = data_export.export_of(user)
    if export is None or export.state != State.READY or export.expires_at is None:
        messages.error(request, "There is no archive. Ask for one, and wait until it is ready.")
        return HttpResponseRedirect(reverse("security:data"))
    if export.expires_at <= timezone.now():
        raise Http404
    name = f"fillcast-{export.ready_at:%Y-%m-%d}.zip"
    response = StreamedResponse(
        data_export.archive_parts(user, export.pk), content_type="application/zip"
    )
    response["Content-Length"] = str(export.size)
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    streamed: HttpResponse = response  # type: ignore[assignment]  # both take headers
    return streamed
