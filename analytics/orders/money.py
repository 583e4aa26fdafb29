"""The currency of an order's money: that of its account, by which its decimals are shown."""

from django.db.models import OuterRef, QuerySet, Subquery

from connections.models import AccountSnapshot
from execution.models import Order

ANNOTATION = "account_currency"


def with_currency(orders: QuerySet[Order]) -> QuerySet[Order]:
    """Add to orders what `currency_of` would query for each."""
    found = AccountSnapshot.objects.filter(connection_id=OuterRef("connection_id"))
    return orders.annotate(**{ANNOTATION: Subquery(found.values("currency")[:1])})


def currency_of(order: Order) -> str:
    """Return the currency of the order's account; empty if the account was never read.

    One query for an order that was not read by `with_currency`.
    """
    if hasattr(order, ANNOTATION):
        return str(getattr(order, ANNOTATION) or "")
    found = AccountSnapshot.objects.filter(connection_id=order.connection_id)
    return found.values_list("currency", flat=True).first() or ""
