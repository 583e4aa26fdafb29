"""The figures of an order that was denied or ended: what was limited, its value and its maximum.

The execution log has them (docs/adr/0034): the order's row would carry them for millions of orders
that need none. `with_figures` reads them with the orders, one index look-up for each that has some.
"""

from typing import Any

from django.db.models import Case, JSONField, OuterRef, Q, QuerySet, Subquery, Value, When

from analytics.orders.money import with_currency
from common.limit_figures import Figures, read_figures, text_with_detail
from execution.models import ExecutionLog, Order, Status

# Statuses that a decision of ours ends an order with. Orders that wait, work or filled have none.
WITH_FIGURES = (Status.DENIED, Status.SKIPPED, Status.CANCELLED, Status.EXPIRED)
_ANNOTATION = "stated_numbers"


def with_figures(orders: QuerySet[Order]) -> QuerySet[Order]:
    """Add to orders what `figures_of` and `currency_of` would query for each."""
    stated = _lines().filter(order_id=OuterRef("pk"), code=OuterRef("reason"))
    has_figures = Q(status__in=WITH_FIGURES) & ~Q(reason="")
    numbers = Case(
        When(has_figures, then=Subquery(stated.values("numbers")[:1])),
        default=Value(None, JSONField()),
        output_field=JSONField(),
    )
    return with_currency(orders).annotate(**{_ANNOTATION: numbers})


def figures_of(order: Order) -> Figures | None:
    """Return the figures of the order's reason, None if it has none.

    One query for an order that was not read by `with_figures`, and only if it may have some.
    """
    if order.status not in WITH_FIGURES or not order.reason or order.pk is None:
        return None
    if hasattr(order, _ANNOTATION):
        stored: Any = getattr(order, _ANNOTATION)
    else:
        lines = _lines().filter(order_id=order.pk, code=order.reason)
        stored = lines.values_list("numbers", flat=True).first()
    return read_figures(order.reason, stored)


def stated_detail(order: Order) -> str:
    """Return the figures and the detail of the order's reason, for people; may be empty."""
    return text_with_detail(figures_of(order), order.detail)


def _lines() -> QuerySet[ExecutionLog]:
    return ExecutionLog.objects.exclude(numbers={}).order_by("-id")
