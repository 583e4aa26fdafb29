"""What somebody reads whose roles do not include what they asked for: 403, with the right."""

from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.response import TemplateResponse

from common.admin import RightDenied, is_operator
from common.errors import NotAllowedError
from common.reason_codes import Code
from console.pages.page_helpers import page


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer a refusal (`handler403`): in the console's shell for who may read it, else alone.

    Nothing is kept of what the request had written before it was refused.
    """
    error = _refusal(request, exception)
    said: dict[str, Any] = {"error": error, "roles": error.numbers.get("roles", "")}
    response: HttpResponse
    if request.path_info.startswith("/admin/") and is_operator(request):
        shown: TemplateResponse = page(request, "forbidden.html", "Not allowed", **said)
        shown.status_code = 403
        response = shown.render()
    else:
        response = render(request, "403.html", said, status=403)
    response["Cache-Control"] = "no-store"
    if transaction.get_connection().in_atomic_block:
        transaction.set_rollback(True)
    return response


def _refusal(request: HttpRequest, exception: Exception | None) -> NotAllowedError:
    """Return what was raised; Django's own pages only say that something was missing."""
    if isinstance(exception, RightDenied):
        return exception.error
    found = getattr(request, "refused", None)
    return found if isinstance(found, NotAllowedError) else NotAllowedError(Code.PERMISSION_DENIED)
