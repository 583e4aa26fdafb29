"""What a person or a program cancelled and closed at once, and which orders that concerned."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from common.db.functions import ClockTimestamp


class ScopedAction(models.Model):
    """One call that cancelled entries or closed positions of a scope. Rows are never changed.

    request_id: the caller's own; a repetition with it returns this row and does nothing. scope: as
    `execution.scoped.actions` stores it; scope_name: in words. cancelled: entries that had not
    ended when their turn came; ended: the others that were found. exits: the orders that close.
    shown_entries, shown_positions: how many the confirmation page named; NULL without such a page.
    """

    request_id = models.CharField(max_length=100, blank=True, default="", db_default="")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+", db_index=False,
        help_text="Who asked for it; empty: a command on the server.",
    )  # fmt: skip
    at = models.DateTimeField(db_default=ClockTimestamp())
    cancels_entries = models.BooleanField()
    closes_positions = models.BooleanField()
    scope = models.JSONField()
    scope_name = models.CharField(max_length=300)
    cancelled = ArrayField(models.BigIntegerField(), default=list)
    ended = ArrayField(models.BigIntegerField(), default=list)
    exits = ArrayField(models.BigIntegerField(), default=list)
    shown_entries = models.IntegerField(null=True)
    shown_positions = models.IntegerField(null=True)

    class Meta:
        ordering = ("-id",)
        verbose_name = "cancellation or closing"
        verbose_name_plural = "cancellations and closings"
        constraints = [
            models.UniqueConstraint(
                fields=["user", "request_id"],
                condition=~Q(request_id=""),
                nulls_distinct=False,
                name="one_scoped_action_a_request",
            ),
            models.CheckConstraint(
                condition=Q(cancels_entries=True) | Q(closes_positions=True),
                name="scoped_action_does_something",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pk}: {self.scope_name}"
