"""Cursor pagination: rows that are added meanwhile neither shift nor repeat a page."""

from typing import Any

from rest_framework.pagination import CursorPagination


class Pages(CursorPagination):
    """`?page_size=` up to 500; `next` and `previous` are complete addresses."""

    ordering = "-pk"
    page_size = 50
    max_page_size = 500
    page_size_query_param = "page_size"
    page_size_query_description = "Results on a page: by default 50, at most 500."
    invalid_cursor_message = "The cursor does not belong to this list."

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return the page's schema: both addresses are always there, null at either end."""
        address = {"type": ["string", "null"], "format": "uri"}
        properties = {"next": {**address}, "previous": {**address}, "results": schema}
        return {"type": "object", "required": list(properties), "properties": properties}
