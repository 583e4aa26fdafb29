"""Cursor pagination: rows that are added meanwhile neither shift nor repeat a page."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import DataError
from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request

from common.db.newest_rows import ORDERINGS
from common.errors import InvalidInputError
from common.reason_codes import Code
from common.web.api_parameters import MOST_DIGITS


class Pages(CursorPagination):
    """`?page_size=` up to 500; `next` and `previous` are complete addresses."""

    ordering = "-pk"
    page_size = 50
    max_page_size = 500
    page_size_query_param = "page_size"
    page_size_query_description = "Results on a page: by default 50, at most 500."

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> Any:
        """Return the page's rows. Raises InvalidInputError for a cursor of another list.

        A view's `newest_rows` finds the rows of a tenant by other means than the database would.
        """
        by = self.get_ordering(request, queryset, view)
        is_by_number = len(by) == 1 and by[0] in ORDERINGS
        if is_by_number and (newest_rows := getattr(view, "newest_rows", None)) is not None:
            queryset = newest_rows(queryset)
        if self.cursor_query_param not in request.query_params:
            return super().paginate_queryset(queryset, request, view)
        try:
            return super().paginate_queryset(queryset, request, view)
        except (NotFound, ValueError, TypeError, OverflowError, ValidationError, DataError) as why:
            detail = "The cursor does not belong to this list."
            raise InvalidInputError(Code.FIELD_INVALID, detail, field="cursor") from why

    def get_page_size(self, request: Request) -> int | None:
        """Return how many rows a page has. Raises InvalidInputError for what is no number of rows.

        More than the maximum is the maximum.
        """
        text = request.query_params.get(self.page_size_query_param, "")
        is_number = text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS
        if text and not (is_number and int(text)):
            detail = f"A whole number from 1 to {self.max_page_size}."
            raise InvalidInputError(Code.FIELD_INVALID, detail, field=self.page_size_query_param)
        size: int | None = super().get_page_size(request)
        return size

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return the page's schema: both addresses are always there, null at either end."""
        address = {"type": ["string", "null"], "format": "uri"}
        properties = {"next": {**address}, "previous": {**address}, "results": schema}
        return {"type": "object", "required": list(properties), "properties": properties}
