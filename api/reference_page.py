"""The page of the API reference: Swagger UI, which reads the schema."""

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe

from api.schema import operations
from api.schema_view import kept_schema


@require_safe
@ensure_csrf_cookie  # for what a signed-in user sends from here
def reference(request: HttpRequest) -> HttpResponse:
    """Show every operation, with a form to try it. For everybody; it needs no database."""
    context = {"operations": operations(kept_schema())}
    return TemplateResponse(request, "api/reference.html", context)
