"""The pages of the console that `pages` asks for as an operator, and their bars."""

from datetime import timedelta
from typing import Any

from django.utils.timezone import now as machine_clock

from analytics.installation import compute
from analytics.models import ExecutionDay
from benchmarks.environment import BenchError
from execution.models import Order
from positions.models import ExecutionPosition

MOST_QUERIES = 15
DAYS = 366  # as many as the page of execution quality shows at once

# {order}, {position}, {signal} and {account} are those of the newest trade. {since}, {year} and
# {month} begin before today: in the first minutes of a month or a year it has no orders yet.
PAGES = tuple(
    f"/admin/{path}"
    for path in (
        "", "console/live/", "console/trail/", "console/execution/", "console/execution/?of=exits",
        "console/execution/?from={since}", "console/execution/{year}/{month}/",
        "execution/order/", "execution/order/?status__exact=FILLED",
        "execution/order/{order}/", "execution/fill/", "execution/executionlog/",
        "execution/driftitem/", "positions/executionposition/",
        "positions/executionposition/{position}/", "signals/signal/",
        "signals/signal/{signal}/", "signals/feed/", "connections/executionconnection/",
        "connections/executionconnection/{account}/", "connections/dataconnection/",
        "connections/subscription/", "connections/killswitch/", "users/user/", "events/event/",
        "events/notification/", "analytics/analyticsdaily/",
    )
)  # fmt: skip


def shown() -> dict[str, Any]:
    """Return what the names in PAGES stand for."""
    trade = ExecutionPosition.objects.latest("pk")
    today = machine_clock().date()
    yesterday = today - timedelta(days=1)
    return {
        "order": Order.objects.filter(signal=trade.signal_id).latest("pk").pk,
        "position": trade.pk, "signal": trade.signal_id, "account": trade.connection_id,
        "year": yesterday.year, "month": yesterday.month,
        "since": today - timedelta(days=DAYS - 2),  # midnight may come before the page is asked for
    }  # fmt: skip


def compute_execution() -> None:
    """Compute what the page of execution quality shows; a page without figures measures nothing."""
    today = machine_clock().date()
    for number in range(DAYS):
        day = today - timedelta(days=number)
        if Order.objects.filter(created_at__date=day).exists():
            compute.compute_day(day)
    if not ExecutionDay.objects.filter(orders__gt=0).exists():
        raise BenchError("no day of execution was computed")
