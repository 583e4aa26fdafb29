"""A tenant's recent orders with a given reason."""

from analytics.orders.explanations import Explanation, explain
from analytics.orders.figures import with_figures
from analytics.orders.reasons import with_reason
from execution.models import Order
from portal.selectors.accounts import connections_of
from users.models import User

RECENT_ORDERS = 500  # that are searched
MAX_SHOWN = 20


def recent_orders_with(user: User, reason: str) -> list[tuple[Order, Explanation]]:
    """Return the tenant's recent orders that ended, or wait, for this reason; newest first."""
    mine = Order.objects.filter(connection__in=connections_of(user)).order_by("-id")
    latest = list(mine.values_list("pk", flat=True)[:RECENT_ORDERS])
    found = with_reason(with_figures(mine.filter(pk__in=latest)), reason)
    found = found.select_related("connection", "signal")
    return [
        (order, explain(order))
        for order in found.defer("connection__sealed_credentials")[:MAX_SHOWN]
    ]
