"""A user's own lines of the execution log, for the archive of their data.

The log has no account's index, so its lines are found by the ids of orders, and those about
positions by their signals: each by an index, a few at a time.
"""

from collections.abc import Iterator
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet

from execution.models import ArchivedOrder, ExecutionLog, Order
from positions.models import ExecutionPosition
from users.models import User

LOG_COLUMNS = ("id", "order_id", "signal_id", "connection_id", "code", "status", "detail",
               "numbers", "at")  # fmt: skip
AT_ONCE = 500


def log_of(user: User) -> Iterator[dict[str, Any]]:
    """Yield the lines about the user's orders, then those about their positions."""
    for table in (Order, ArchivedOrder):
        for orders in _chunks(table.objects.filter(connection__user=user), "pk"):
            ids = [order["pk"] for order in orders]
            yield from _lines(ExecutionLog.objects.filter(order_id__in=ids))
    for group in _chunks(_first_positions(user), "pk", "signal_id", "connection_id"):
        pairs = {(one["signal_id"], one["connection_id"]) for one in group}
        found = ExecutionLog.objects.filter(
            order_id=None,
            signal_id__in={signal for signal, _ in pairs},
            connection_id__in={connection for _, connection in pairs},
        )
        for line in _lines(found):
            if (line["signal_id"], line["connection_id"]) in pairs:
                yield line


def _first_positions(user: User) -> QuerySet[ExecutionPosition]:
    """Return one position of each trade: slices of a hedged entry open several."""
    earlier = ExecutionPosition.objects.filter(
        connection_id=OuterRef("connection_id"), signal_id=OuterRef("signal_id"),
        pk__lt=OuterRef("pk"),
    )  # fmt: skip
    return ExecutionPosition.objects.filter(~Exists(earlier), connection__user=user)


def _lines(found: QuerySet[ExecutionLog]) -> Iterator[dict[str, Any]]:
    yield from found.order_by("id").values(*LOG_COLUMNS)


def _chunks(found: QuerySet[Any], *names: str) -> Iterator[list[dict[str, Any]]]:
    """Yield rows in groups, by their key: no cursor and no transaction is kept open meanwhile."""
    last = 0
    while group := list(found.filter(pk__gt=last).order_by("pk").values(*names)[:AT_ONCE]):
        yield group
        last = group[-1]["pk"]
