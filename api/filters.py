"""Boolean filters of lists: an unreadable value is refused, never ignored."""

from collections.abc import Sequence
from typing import Any

from django_filters.rest_framework import BooleanFilter, DjangoFilterBackend
from rest_framework.request import Request

from common.errors import InvalidInputError, raise_all
from common.reason_codes import Code

BOOLEANS = ("", "true", "false", "1", "0")


class CheckedFilters(DjangoFilterBackend):  # type: ignore[misc]  # it has no types
    """The filters of a view. Raises InvalidInputError FIELD_INVALID for `archived=maybe`."""

    def get_filterset(self, request: Request, queryset: Any, view: Any) -> Any:
        """Return the view's filters, once their booleans can be read; other values they check."""
        filters = super().get_filterset(request, queryset, view)
        if filters is not None:
            names = [
                name for name, one in filters.filters.items() if isinstance(one, BooleanFilter)
            ]
            _check_booleans(request, names)
        return filters


def _check_booleans(request: Request, names: Sequence[str]) -> None:
    raise_all(
        [
            InvalidInputError(Code.FIELD_INVALID, "true or false.", field=name)
            for name in names
            if request.query_params.get(name, "").lower() not in BOOLEANS
        ]
    )
