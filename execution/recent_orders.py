"""The newest orders of accounts, without reading all that they ever traded."""

from collections.abc import Sequence
from uuid import UUID

from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

from execution.models import Order

ORDERS_OF_AN_ACCOUNT = 60

_NEWEST = f"""
SELECT o.id FROM unnest(%s::uuid[]) AS account(id) CROSS JOIN LATERAL (
  SELECT x.id FROM execution_order x WHERE x.connection_id = account.id
  ORDER BY x.id DESC LIMIT {ORDERS_OF_AN_ACCOUNT}) o
"""


def recent_orders(connection_ids: Sequence[UUID]) -> QuerySet[Order]:
    """Return the last orders of each of these accounts."""
    return Order.objects.filter(pk__in=RawSQL(_NEWEST, [list(connection_ids)]))
