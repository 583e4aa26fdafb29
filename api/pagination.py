"""Pages by cursor: what is added meanwhile neither shifts nor repeats a row."""

from rest_framework.pagination import CursorPagination


class Pages(CursorPagination):
    """`?page_size=` up to 500; `next` and `previous` are whole addresses."""

    ordering = "-pk"
    page_size = 50
    max_page_size = 500
    page_size_query_param = "page_size"
    page_size_query_description = "How many results a page has: 50 unless said, 500 at most."
    invalid_cursor_message = "The cursor does not belong to this list."
