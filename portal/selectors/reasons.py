"""Whom a reason has hit lately, of one tenant's accounts."""

from execution.models import Order
from execution.order_reasons import with_reason
from portal.selectors.accounts import connections_of
from portal.words import Said, tell
from users.models import User

LATELY = 500  # orders that are looked through
SHOWN = 20


def hit_lately(user: User, reason: str) -> list[tuple[Order, Said]]:
    """The tenant's last orders that ended, or wait, for this reason; newest first."""
    mine = Order.objects.filter(connection__in=connections_of(user)).order_by("-id")
    latest = list(mine.values_list("pk", flat=True)[:LATELY])
    found = with_reason(mine.filter(pk__in=latest), reason).select_related("connection")
    return [(order, tell(order)) for order in found.defer("connection__sealed_credentials")[:SHOWN]]
