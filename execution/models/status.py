"""The statuses of an order, groups of them, and pending actions."""

from django.db import models
from django.db.models import Q

from common.reason_codes import Code


class Status(models.TextChoices):
    """Where an order is. `reports.transitions.ALLOWED` lists the transitions."""

    PENDING = "PENDING"
    SUBMITTING = "SUBMITTING"
    SUBMITTED = "SUBMITTED"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    CANCEL_REQUESTED = "CANCEL_REQUESTED"
    UNKNOWN = "UNKNOWN"
    FILLED = "FILLED"
    SKIPPED = "SKIPPED"
    DENIED = "DENIED"
    REJECTED = "REJECTED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


IN_FLIGHT = (Status.SUBMITTING, Status.UNKNOWN)
AT_BROKER = (Status.SUBMITTED, Status.PARTIALLY_FILLED, Status.CANCEL_REQUESTED)
LIVE = (*IN_FLIGHT, *AT_BROKER)
"""Sent, or perhaps sent, and not ended."""
ALL_PENDING = Q(status=Status.PENDING, id__gt=0)
"""The pending orders of all accounts. Ids are always above 0, but only a query that states so can
use the index `order_pending`: if nothing was due at the last ANALYZE, the planner takes that index
for empty, and would read all that a signal has made due for each bundle of accounts."""
NOT_ENDED = ALL_PENDING | Q(status__in=LIVE)
"""Two conditions that partial indexes have; by `done_at`, which none has, all orders are read."""
PARTLY_KNOWN = Q(lookup_after__isnull=False, done_at__isnull=False)
"""As `is_partly_known_sql`: ended orders whose broker is still asked what they executed."""
HELD = Q(awaits_condition=True) | Q(reason=Code.AWAITING_TRIGGER.value)
"""Of PENDING entries: those that wait for a price or a condition."""
UNSENT = (
    Status.PENDING,
    Status.SKIPPED,
    Status.DENIED,
    Status.CANCELLED,
    Status.EXPIRED,
    Status.FAILED,
)
TERMINAL = (
    Status.FILLED,
    Status.SKIPPED,
    Status.DENIED,
    Status.REJECTED,
    Status.FAILED,
    Status.CANCELLED,
    Status.EXPIRED,
)


# `Order.priority`: the lowest is processed first. Exits, written in exits/orders.py, have 1.
BY_HAND_PRIORITY = 2
"""Entries of signals that a person published by hand, and entries that a person retried."""
FEED_PRIORITY = 3
"""Entries of all other signals have this plus the priority class of their subscription."""


class RouteState(models.TextChoices):
    """Where the row of a routed entry stands (docs/adr/0026). Empty: the entry is not routed."""

    NONE = ""
    OPEN = "OPEN", "No account is chosen yet"
    HERE = "HERE", "This account was chosen"
    MOVED = "MOVED", "Proven unsent; another account has the entry"
    LAST = "LAST", "This account was chosen; no other one follows"


class PendingAction(models.TextChoices):
    """What to do with an order as soon as its status allows it."""

    NONE = ""
    CANCEL = "CANCEL"
    CLOSE = "CLOSE", "Cancel the rest and close what filled"
    EXPIRE = "EXPIRE", "Cancel, because its valid_until has passed"
    PASSED = "PASSED", "Cancel, because a level has passed its price"


CANCELS = (PendingAction.CANCEL, PendingAction.EXPIRE, PendingAction.PASSED)
"""Those that leave open what has filled."""
