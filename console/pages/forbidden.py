"""The answer 403: which right the user's roles lack."""

from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.response import TemplateResponse

from common.errors import NotAllowedError
from common.reason_codes import Code
from common.web.admin import RightDenied, is_operator
from console.pages.page_helpers import page


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer a refusal (`handler403`): in the console's shell for its readers, else plainly.

    The request's transaction is rolled back.
    """
    error = _refusal(request, exception)
    context: dict[str, Any] = {"error": error, "roles": error.numbers.get("roles", "")}
    response: HttpResponse
    if request.path_info.startswith("/admin/") and is_operator(request):
        shown: TemplateResponse = page(request, "forbidden.html", "Not allowed", **context)
        shown.status_code = 403
        response = shown.render()
    else:
        response = render(request, "403.html", context, status=403)
    response["Cache-Control"] = "no-store"
    if transaction.get_connection().in_atomic_block:
        transaction.set_rollback(True)
    return response


def _refusal(request: HttpRequest, exception: Exception | None) -> NotAllowedError:
    """Return the refusal; Django's own pages raise one without details."""
    if isinstance(exception, RightDenied):
        return exception.error
    found = getattr(request, "refused", None)
    return found if isinstance(found, NotAllowedError) else NotAllowedError(Code.PERMISSION_DENIED)
