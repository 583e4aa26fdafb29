"""The filters that lists of orders and of positions share, on pages and for downloads."""

from collections.abc import Mapping
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import QuerySet

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
