"""What the rounding of quantities left out, by subscription and pair.

The debt of an entry is its calculated quantity less the one that was sent: above zero what the
broker's step, minimum and maximum left out, below zero what a minimum added. An entry whose
quantity a person has changed has none: it was not rounded.
"""

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from django.db.models import Case, Count, Exists, F, OuterRef, Q, Sum, Value, When

from common.fields import AmountField
from common.reason_codes import Code
from connections.models import SubscriptionRoute
from execution.models import AT_BROKER, IN_FLIGHT, ChangeState, EntryChange, Order, Status

_BELOW_MINIMUM = Q(status=Status.DENIED, reason=Code.QUANTITY_BELOW_MINIMUM.value)
_RESIZED = Exists(
    EntryChange.objects.filter(order=OuterRef("pk"))
    .exclude(quantity=F("old_quantity"))
    .exclude(state__in=(ChangeState.WAITING, ChangeState.REFUSED))
)
_SENT = Q(status__in=(*IN_FLIGHT, *AT_BROKER, Status.FILLED)) | Q(filled_quantity__gt=0)


@dataclass(frozen=True, slots=True)
class RoundingDebt:
    """What is left out of one pair's entries: base units; entries: how many it is the sum of."""

    pair: str
    quantity: Decimal
    entries: int

    @property
    def size(self) -> Decimal:
        """The quantity without its sign."""
        return abs(self.quantity)


def rounding_debts(
    connection_id: UUID, *, routes: Collection[UUID] | None = None
) -> dict[int, list[RoundingDebt]]:
    """Return the debts of an account by feed id, each list in the order of its pairs.

    Counted are entries that the broker has or filled, and those denied as below its minimum, on the
    accounts of the subscription's present route too.
    Pairs whose entries add up to no debt are left out.

    routes: the accounts of these routes, if they were read already.
    """
    if routes is None:
        stored = SubscriptionRoute.objects.filter(subscription__connection=connection_id)
        routes = list(stored.values_list("connection_id", flat=True))
    accounts = {connection_id, *routes}
    of_subscriptions = Q(routed_from=connection_id) | Q(
        routed_from=None, connection_id=connection_id
    )
    sized = Order.objects.entries().filter(
        of_subscriptions,
        _SENT | _BELOW_MINIMUM,
        ~_RESIZED,
        connection_id__in=accounts,
        unrounded_quantity__isnull=False,
    )
    # A denied row may keep the quantity of an earlier attempt that was not sent.
    traded = Case(
        When(_BELOW_MINIMUM, then=Value(Decimal(0))),
        default=F("quantity"),
        output_field=AmountField(),
    )
    sums = (
        sized.order_by()
        .values_list("signal__feed_id", "pair")
        .annotate(debt=Sum(F("unrounded_quantity") - traded), entries=Count("pk"))
        .filter(~Q(debt=0))
    )
    debts: dict[int, list[RoundingDebt]] = {}
    for feed_id, pair, debt, entries in sorted(sums):
        debts.setdefault(feed_id, []).append(RoundingDebt(pair, debt, entries))
    return debts
