"""The reason of an order's status, and since when, for API, portal and console.

Usually the row has it. An order that is due and that no worker has claimed has none: no process
runs that could write it. That reason is derived when the row is read.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Case, F, Q, QuerySet, Value, When
from django.db.models.functions import Now
from django.utils import timezone

from common.reason_codes import Code
from common.web import formatting
from execution.models import Order, Status

WORKER_SECONDS = 5  # a worker polls for due orders within two

# The reasons of a row that only waits for a worker: none, or why it became due.
DUE_REASONS = (
    "", Code.OPERATOR_RETRY.value, Code.RESEND.value, Code.RESTORE_CLEARED.value,
    Code.TRIGGERED.value,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class OrderReason:
    """Why an order has its status.

    code: '' if there is nothing to explain. since: since when it waits, machine time; None: it does
    not wait, or has ended.
    """

    code: str
    status: str
    since: datetime | None = None

    @property
    def sentence(self) -> str:
        return formatting.sentence(self.code, self.status)

    @property
    def hint(self) -> str:
        """What a person can do about it; may be empty."""
        return formatting.hint(self.code, self.status)


def reason_of(order: Order) -> OrderReason:
    """Return why an order has its status."""
    if _lacks_worker(order):
        return OrderReason(Code.NO_WORKER.value, order.status, order.due_at)
    since = order.waiting_since if order.done_at is None else None
    if order.status == Status.PENDING and order.reason and since is None:
        since = order.due_at
    return OrderReason(order.reason, order.status, since)


def _lacks_worker(order: Order) -> bool:
    """Return in Python what `lacks_worker` is in SQL."""
    return (
        order.status == Status.PENDING
        and order.reason in DUE_REASONS
        and not order.pending_action
        and order.due_at is not None
        and order.due_at <= timezone.now() - timedelta(seconds=WORKER_SECONDS)
    )


def lacks_worker() -> Q:
    """Return the condition of orders that are due and that no worker has claimed."""
    return Q(
        status=Status.PENDING,
        reason__in=DUE_REASONS,
        pending_action="",
        due_at__lte=Now() - timedelta(seconds=WORKER_SECONDS),
    )


def stated_reason() -> Case:
    """Return the expression of `reason_of(order).code`."""
    return Case(When(lacks_worker(), then=Value(Code.NO_WORKER.value)), default=F("reason"))


def with_reason(orders: QuerySet[Order], code: str) -> QuerySet[Order]:
    return orders.filter(states(code))


def states(code: str) -> Q:
    """Return the condition of orders whose reason has this code."""
    if code == Code.NO_WORKER:
        return lacks_worker()
    has_reason = Q(reason=code)
    return has_reason & ~lacks_worker() if code in DUE_REASONS else has_reason
