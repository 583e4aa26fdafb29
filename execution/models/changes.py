"""Changes of entries that have not filled: price, quantity, and levels of the coming position."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from brokers.types import OrderTerms
from common.db.functions import ClockTimestamp
from common.fields import AmountField, ChoiceField
from connections.models import ExecutionConnection
from execution.models.orders import Order
from signals.models import Signal


class ChangeState(models.TextChoices):
    """Where a change is. An order has at most one that is REQUESTED, SENT or UNKNOWN: an open one.

    WAITING is that of a signal, until the order can be changed.
    """

    WAITING = "WAITING", "Waits until the order can be changed"
    REQUESTED = "REQUESTED", "Requested"
    SENT = "SENT", "Sent to the broker"
    UNKNOWN = "UNKNOWN", "No answer yet; the order is read at the broker"
    DONE = "DONE", "Done"
    REFUSED = "REFUSED", "Not done"


WAITING_CHANGE = Q(state=ChangeState.WAITING)
OPEN_CHANGE_STATES = (ChangeState.REQUESTED, ChangeState.SENT, ChangeState.UNKNOWN)
OPEN_CHANGE = Q(state__in=OPEN_CHANGE_STATES)


class EntryChange(models.Model):
    """A change of an entry's terms or levels (docs/adr/0028). Times are machine time.

    quantity: base units, all of the order; prices: quote currency of the pair. `old_*`: what the
    order had before. An order that its broker does not have yet is changed at once: DONE. So are
    its end, which we enforce, and the stop and target of the coming position, which are ours until
    it opens.

    While the change is open, the order's row has the larger of both quantities, margins and risks,
    so that no limit counts too little, and no fill exceeds it. calls: how often the broker was
    called for it; the result of an earlier call does not count. sends: how many of them were
    changes, not reads. absences: reads in a row in which the broker did not list the order.
    answer_by: until then the last change may still reach the broker.
    """

    order = models.ForeignKey(Order, models.PROTECT, related_name="changes", db_index=False)
    connection = models.ForeignKey(
        ExecutionConnection, models.PROTECT, related_name="+", db_index=False
    )
    quantity = AmountField(null=True)
    limit_price = AmountField(null=True)
    stop_price = AmountField(null=True)
    margin = AmountField(null=True, help_text="Estimated, account currency.")
    risk = AmountField(null=True, help_text="Lost if the stop is hit, account currency.")
    stop_loss = AmountField(null=True, help_text="Of the coming position; NULL: it stays.")
    take_profit = AmountField(null=True, help_text="Its first target; NULL: it stays.")
    valid_until = models.DateTimeField(
        null=True, help_text="When the order ends, market time; NULL: it stays."
    )
    old_valid_until = models.DateTimeField(null=True)
    raises_risk = models.BooleanField(default=False, db_default=False)
    old_quantity = AmountField(null=True)
    old_limit_price = AmountField(null=True)
    old_stop_price = AmountField(null=True)
    old_stop_loss = AmountField(null=True)
    old_take_profit = AmountField(null=True)
    old_margin = AmountField(null=True)
    old_risk = AmountField(null=True)
    state = ChoiceField(
        max_length=9, choices=ChangeState, default=ChangeState.REQUESTED,
        db_default=ChangeState.REQUESTED,
    )  # fmt: skip
    code = models.CharField(max_length=64, blank=True, default="", db_default="")
    detail = models.CharField(max_length=300, blank=True, default="", db_default="")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+", db_index=False
    )
    signal = models.ForeignKey(
        Signal, models.PROTECT, null=True, related_name="+", db_index=False,
        help_text="The MODIFY signal that requested it.",
    )  # fmt: skip
    requested_name = models.CharField(
        max_length=150, blank=True, default="", db_default="", help_text="Who requested it."
    )
    requested_at = models.DateTimeField(db_default=ClockTimestamp())
    due_at = models.DateTimeField(db_default=ClockTimestamp())
    sent_at = models.DateTimeField(null=True)
    answer_by = models.DateTimeField(null=True)
    calls = models.IntegerField(default=0, db_default=0)
    sends = models.SmallIntegerField(default=0, db_default=0)
    absences = models.SmallIntegerField(default=0, db_default=0)
    done_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(
                fields=["order"], condition=OPEN_CHANGE, name="one_open_change"
            ),
            models.CheckConstraint(
                condition=(OPEN_CHANGE | WAITING_CHANGE) & Q(done_at__isnull=True)
                | ~(OPEN_CHANGE | WAITING_CHANGE) & Q(done_at__isnull=False),
                name="change_done_has_time",
            ),
            models.UniqueConstraint(
                fields=["order"], condition=WAITING_CHANGE, name="one_waiting_change"
            ),
            models.CheckConstraint(
                condition=~OPEN_CHANGE | Q(quantity__gt=0, quantity__isnull=False),
                name="open_change_has_quantity",
            ),
        ]
        indexes = [
            models.Index(fields=["order", "-id"], name="change_of_order"),
            models.Index(fields=["due_at"], name="change_due", condition=OPEN_CHANGE),
        ]

    def __str__(self) -> str:
        return f"Change {self.pk} of O-{self.order_id}: {self.state}"

    @classmethod
    def last_of(cls, order_id: int) -> EntryChange | None:
        """Return an order's open change, else its newest one; None: it was never changed."""
        changes = cls.objects.filter(order=order_id)
        return changes.filter(done_at=None).first() or changes.first()

    @property
    def is_open(self) -> bool:
        """Whether its outcome is not known yet."""
        return self.done_at is None

    @property
    def terms(self) -> OrderTerms | None:
        """What the order shall have; None while it has no quantity yet."""
        if self.quantity is None:
            return None
        return OrderTerms(self.quantity, self.limit_price, self.stop_price)
