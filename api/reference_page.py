"""The pages of the API reference: an index of the groups, and a page for each with forms to try."""

from functools import cache

from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe

from api.reference_rows import Group, groups_of
from api.reference_try import form_of
from api.schema_view import kept_schema


@require_safe
@ensure_csrf_cookie  # for what a signed-in user sends from here
def reference(request: HttpRequest, group: str = "") -> HttpResponse:
    """Show the groups of operations, or one group. For everybody; it needs no database."""
    groups = _groups()
    if not group:
        return TemplateResponse(request, "api/reference.html", {"groups": groups.values()})
    if group not in groups:
        raise Http404
    shown = groups[group]
    forms = [(operation, form_of(operation)) for operation in shown.operations]
    context = {"group": shown, "operations": forms}
    return TemplateResponse(request, "api/reference_group.html", context)


@cache
def _groups() -> dict[str, Group]:
    return groups_of(kept_schema())
