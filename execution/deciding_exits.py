"""Which of several exits states what became of a CLOSE on an account.

An account has several where it holds several positions of the trade, and where the broker takes no
more in one order. What counts accounts counts one of them: the account is done when all of them
have filled, and not before.
"""

from django.db.models import Case, IntegerField, Q, QuerySet, Value, When

from execution.models import Order, Status

RANK = Case(
    When(status=Status.UNKNOWN, then=Value(0)),
    When(done_at=None, then=Value(1)),
    When(filled_quantity=0, then=Value(2)),
    When(~Q(status=Status.FILLED), then=Value(3)),  # filled in part
    default=Value(4),
    output_field=IntegerField(),
)
"""Which exit decides: the one with the lowest rank, of several the oldest."""


def deciding(exits: QuerySet[Order]) -> QuerySet[Order]:
    """Return of these exits the one that decides, for each signal and account."""
    chosen = exits.order_by("signal_id", "connection_id", RANK, "pk")
    one_each = chosen.distinct("signal_id", "connection_id")
    return Order.objects.filter(pk__in=one_each.values("pk")).order_by()
