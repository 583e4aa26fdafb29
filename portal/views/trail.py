"""A user's own audit trail: what was changed by whom, when, from where, by which key."""

from django.http import HttpRequest, HttpResponse

from analytics.history.exports import as_csv, as_json, wanted_of
from analytics.history.own_trail import COLUMNS, all_changes, changes
from common.web.streaming import StreamedResponse
from portal.pages import current_user
from portal.views.keys import own_page, signed_in_only
from users.tenancy import on_behalf_of

A_PAGE = 50


@signed_in_only
def trail(request: HttpRequest) -> HttpResponse:
    """List the changes, newest first."""
    user = current_user(request)
    with on_behalf_of(user):  # pages below /security/ open their own transactions
        found = changes(user, before=wanted_of(request.GET).before, limit=A_PAGE + 1)
        before = found[A_PAGE - 1]["key"] if len(found) > A_PAGE else None
        response = own_page(request, "trail.html", changes=found[:A_PAGE], before=before)
        return response.render()


@signed_in_only
def export(request: HttpRequest, *, form: str) -> HttpResponse:
    """Download all changes as CSV or JSON, streamed."""
    rows = all_changes(current_user(request))
    lines = as_csv(COLUMNS, rows) if form == "csv" else as_json(rows)
    kind = "text/csv; charset=utf-8" if form == "csv" else "application/json"
    response = StreamedResponse(lines, content_type=kind)
    response["Content-Disposition"] = f'attachment; filename="fillcast-audit-trail.{form}"'
    return response  # type: ignore[return-value]  # the stubs know no common class
