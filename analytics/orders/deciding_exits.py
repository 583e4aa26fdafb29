"""Which of several exits states what became of a CLOSE on an account.

An account has several where it holds several positions of the trade, and where the broker takes no
more in one order. What counts accounts counts one of them: the account is done when all of them
have filled, and not before. One that has failed does not count once its CLOSE of the whole position
is requested again. A CLOSE of a part is not repeated: its later exits are of what filled later. One
that ended as dust states nothing: what was there to close had been closed.
"""

from django.db.models import (
    Case,
    CharField,
    Exists,
    F,
    Func,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Value,
    When,
)

from common.reason_codes import Code
from execution.models import Order, Status


def _request(leg: F | OuterRef) -> Func:
    """Return what `order_sizes.request_of_leg_sql` does."""
    return Func(leg, Value("+"), Value(1), function="split_part", output_field=CharField())


_LATER = (  # exits of later requests for the same position and CLOSE
    Order.objects.filter(
        signal=OuterRef("signal"), position=OuterRef("position"), pk__gt=OuterRef("pk"),
        signal__close_fraction=1,
    )
    .exclude(reason=Code.DUST)
    .alias(request=_request(F("leg")))
    .exclude(request=_request(OuterRef("leg")))
)  # fmt: skip

RANK = Case(
    When(status=Status.UNKNOWN, then=Value(0)),
    When(done_at=None, then=Value(1)),
    When(Q(reason=Code.DUST) | Q(Exists(_LATER)), then=Value(5)),
    When(filled_quantity=0, then=Value(2)),
    When(~Q(status=Status.FILLED), then=Value(3)),  # filled in part
    default=Value(4),
    output_field=IntegerField(),
)
"""Which exit decides: the one with the lowest rank, of several the oldest."""


def deciding(exits: QuerySet[Order]) -> QuerySet[Order]:
    """Return of these exits the one that decides, for each signal and account."""
    ranked = exits.alias(rank=RANK)  # not in order_by(): Django would not rename its tables there
    chosen = ranked.order_by("signal_id", "connection_id", "rank", "pk")
    one_each = chosen.distinct("signal_id", "connection_id")
    return Order.objects.filter(pk__in=one_each.values("pk")).order_by()
