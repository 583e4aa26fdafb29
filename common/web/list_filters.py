"""The filters that lists share, on pages, in the API and for downloads."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Q, QuerySet

Rows = TypeVar("Rows", bound=QuerySet[Any])  # any: of orders or positions


def by_account_and_pair(found: Rows, filters: Mapping[str, str]) -> Rows:
    """Return the rows that an address names by `account` and `pair`; by default all."""
    if account := filters.get("account"):
        try:
            found = found.filter(connection=UUID(account))
        except ValueError:
            return found.none()
    if pair := filters.get("pair", "").replace("\0", "").strip().upper():
        found = found.filter(pair__icontains=pair)
    return found


def before_row(column: str, at: datetime, pk: int) -> Q:
    """Return what follows a row in a list that is newest first by a column, then by key.

    at, pk: that column and the key of the last row seen.
    """
    earlier = Q(**{f"{column}__lt": at}) | Q(pk__lt=pk)
    return Q(**{f"{column}__lte": at}) & earlier
