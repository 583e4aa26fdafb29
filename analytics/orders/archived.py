"""What pages and counts state of orders that are in the archive: docs/adr/0054.

Nothing that ended in the last 400 days is archived, so younger signals cost no statement.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from common.errors import FillcastError
from common.reason_codes import Code
from common.web.formatting import STATES, sentence
from execution.models import ArchivedOrder, Order
from execution.models.archived import COMMAND
from signals.models import Signal
from users.models import User

YOUNGEST = timedelta(days=400)
"""As migrations/sql/archived_orders.sql has it."""


def may_be_archived(*times: datetime | None) -> bool:
    """Return whether orders of one of these times can be in the archive."""
    oldest = timezone.now() - YOUNGEST
    return any(at is not None and at < oldest for at in times)


def archived_of(signals: Iterable[Signal]) -> QuerySet[ArchivedOrder]:
    """Return the archived entries of signals; of young ones nothing is read."""
    old = [one.pk for one in signals if may_be_archived(one.published_at)]
    return ArchivedOrder.objects.filter(signal__in=old) if old else ArchivedOrder.objects.none()


def count_archived(ids: Collection[int], *, since: datetime) -> int:
    """Return how many of these orders, of this time, are in the archive."""
    return ArchivedOrder.objects.filter(pk__in=ids).count() if may_be_archived(since) else 0


def archived_of_user(user: User) -> QuerySet[ArchivedOrder]:
    """Return the archived entries of a user's accounts; all of them for operators."""
    rows = ArchivedOrder.objects.select_related("connection", "signal")
    return rows if user.is_operator else rows.filter(connection__user=user)


def received_signals(orders: QuerySet[Order], user: User) -> QuerySet[Any]:
    """Return the ids of the signals of these orders of a user, and of the user's archived ones."""
    archived = ArchivedOrder.objects.filter(connection__user=user)
    return orders.order_by().values("signal_id").union(archived.order_by().values("signal_id"))


def refuse_archived(user: User, order_id: int) -> None:
    """Raise FillcastError ORDER_ARCHIVED if an order of the user's accounts is in the archive."""
    order = archived_of_user(user).filter(pk=order_id).first()
    if order is not None:
        raise FillcastError(Code.ORDER_ARCHIVED, text_of(order))


def text_of(order: ArchivedOrder) -> str:
    """Return what became of an archived order, and who can read it."""
    ended = f"{STATES[order.status].word.lower()} on {order.done_at:%Y-%m-%d}"
    why = f" ({order.reason}: {sentence(order.reason, order.status)})" if order.reason else ""
    return (
        f"O-{order.pk}, the entry of S-{order.signal_id} on {order.connection}, {ended} without a"
        f" fill{why}. Its row is in the archive; an operator reads it with `{order.command}`."
    )


def note_of(signal: Signal, archived: int) -> str:
    """Return a sentence about a signal's archived orders; empty without any."""
    if not archived:
        return ""
    are = "order is" if archived == 1 else "orders are"
    return (
        f"{archived:,} {are} in the archive, which ended without a fill, and counted here:"
        f" `{COMMAND} --signal {signal.number}` reads them."
    )
