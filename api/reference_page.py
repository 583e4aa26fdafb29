"""The pages of the API reference: an index of the groups, and a page for each."""

from functools import cache

from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.http import require_safe

from api.reference_rows import Group, groups_of
from api.schema_view import kept_schema


@require_safe
def reference(request: HttpRequest, group: str = "") -> HttpResponse:
    """Show the groups of operations, or one group. For everybody; it needs no database."""
    groups = _groups()
    if not group:
        return TemplateResponse(request, "api/reference.html", {"groups": groups.values()})
    if group not in groups:
        raise Http404
    return TemplateResponse(request, "api/reference_group.html", {"group": groups[group]})


@cache
def _groups() -> dict[str, Group]:
    return groups_of(kept_schema())
