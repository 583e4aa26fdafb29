"""The pages of the console that `pages` asks for as an operator, and their bars."""

from typing import Any, Protocol

from django.utils.timezone import now as machine_clock

from execution.models import Order
from positions.models import ExecutionPosition

TARGET_MS, MOST_QUERIES = 300.0, 15

# {order}, {position}, {signal} and {account} are those of the newest trade.
PAGES = tuple(
    f"/admin/{path}"
    for path in (
        "", "console/live/", "console/trail/", "console/execution/", "console/execution/?of=exits",
        "console/execution/?from={year}-01-01", "console/execution/{year}/{month}/",
        "execution/order/", "execution/order/?status__exact=FILLED",
        "execution/order/{order}/change/", "execution/fill/", "execution/executionlog/",
        "execution/driftitem/", "positions/executionposition/",
        "positions/executionposition/{position}/change/", "signals/signal/",
        "signals/signal/{signal}/change/", "signals/feed/", "connections/executionconnection/",
        "connections/executionconnection/{account}/change/", "connections/dataconnection/",
        "connections/subscription/", "connections/killswitch/", "users/user/", "events/event/",
        "events/notification/", "analytics/analyticsdaily/",
    )
)  # fmt: skip


class Figures(Protocol):
    """What a page took: the median of its milliseconds, and the statements it sent."""

    queries: int

    @property
    def median(self) -> float:
        """In milliseconds."""


def shown() -> dict[str, Any]:
    """Return what the names in PAGES stand for."""
    trade = ExecutionPosition.objects.latest("pk")
    today = machine_clock().date()
    return {
        "order": Order.objects.filter(signal=trade.signal_id).latest("pk").pk,
        "position": trade.pk, "signal": trade.signal_id, "account": trade.connection_id,
        "year": today.year, "month": today.month,
    }  # fmt: skip


def is_slow(figures: Figures) -> bool:
    """Return whether a page of the console misses its bars."""
    return figures.median > TARGET_MS or figures.queries > MOST_QUERIES
