"""Filters and order of lists: a value that cannot be read is refused, never ignored."""

from collections.abc import Iterable, Sequence
from typing import Any

from django_filters.rest_framework import BooleanFilter, DjangoFilterBackend
from rest_framework.filters import OrderingFilter
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


class CheckedOrdering(OrderingFilter):
    """The order of a list by `?ordering=`. Raises InvalidInputError FIELD_INVALID for other names.

    The library would ignore them, and a caller would read the wrong rows as the newest ones.
    """

    def remove_invalid_fields(
        self, queryset: Any, fields: Iterable[str], view: Any, request: Request
    ) -> Any:
        """Return the fields, if the list can be in their order."""
        named = [field for field in fields if field]
        valid = super().remove_invalid_fields(queryset, named, view, request)
        if list(valid) != named:
            known = self.get_valid_fields(queryset, view, {"request": request})
            names = ", ".join(name for name, _ in known)
            detail = f"One of {names}; with “-” before it, in reverse."
            raise InvalidInputError(Code.FIELD_INVALID, detail, field=self.ordering_param)
        return valid


def _check_booleans(request: Request, names: Sequence[str]) -> None:
    raise_all(
        [
            InvalidInputError(Code.FIELD_INVALID, "true or false.", field=name)
            for name in names
            if request.query_params.get(name, "").lower() not in BOOLEANS
        ]
    )
