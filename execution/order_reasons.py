"""Why an order is in its state, and since when: one answer for API, portal and console.

Mostly the row has it. An order that is due and that no worker has taken has none: its publication
expects a worker at once, and where none runs, no process is left to write one. So it is derived
from the row where it is read, and costs those who send orders nothing.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Case, F, Q, QuerySet, Value, When
from django.db.models.functions import Now
from django.utils import timezone

from common import formatting
from common.reason_codes import Code
from execution.models import Order, Status

WORKER_SECONDS = 5  # a worker polls for due orders within two

# What a row that only needs a worker may say: nothing, or why it is due.
DUE_REASONS = ("", Code.OPERATOR_RETRY.value, Code.RESEND.value, Code.RESTORE_CLEARED.value)


@dataclass(frozen=True, slots=True)
class OrderReason:
    """code: '' where nothing has to be explained. since: PENDING only, when the wait began."""

    code: str
    status: str
    since: datetime | None = None

    @property
    def sentence(self) -> str:
        return formatting.sentence(self.code, self.status)

    @property
    def hint(self) -> str:
        return formatting.hint(self.code, self.status)


def reason_of(order: Order) -> OrderReason:
    """Return why an order is as it is."""
    if _lacks_worker(order):
        return OrderReason(Code.NO_WORKER.value, order.status, order.due_at)
    since = order.waiting_since
    if order.status == Status.PENDING and order.reason and since is None:
        since = order.due_at
    return OrderReason(order.reason, order.status, since)


def _lacks_worker(order: Order) -> bool:
    """The same in Python as `lacks_worker` in SQL."""
    return (
        order.status == Status.PENDING
        and order.reason in DUE_REASONS
        and not order.pending_action
        and order.due_at is not None
        and order.due_at <= timezone.now() - timedelta(seconds=WORKER_SECONDS)
    )


def lacks_worker() -> Q:
    """Return the condition of orders that are due and that no worker has taken."""
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
    """Return those of these orders that state this code."""
    return orders.filter(states(code))


def states(code: str) -> Q:
    """Return the condition of orders that state this code."""
    if code == Code.NO_WORKER:
        return lacks_worker()
    found = Q(reason=code)
    return found & ~lacks_worker() if code in DUE_REASONS else found
