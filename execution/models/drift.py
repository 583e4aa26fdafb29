"""Drift items: differences between us and a broker, and the decisions about them."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from common.db.functions import ClockTimestamp
from common.fields import ChoiceField
from connections.models import ExecutionConnection


class Decision(models.TextChoices):
    """What an owner or operator decided about a drift item."""

    NONE = ""
    ADOPT = "ADOPT", "Adopt the broker's side"
    RELINK = "RELINK", "Relink it to one of ours"
    CLOSE = "CLOSE", "Close it"
    IGNORE = "IGNORE", "Ignore it until it changes"


class DriftItem(models.Model):
    """A difference between us and a broker, with its evidence, waiting for a decision.

    It is resolved when a clean reconciliation no longer finds it. NOTED: no notification and no
    action (an order that is not ours). IGNORED becomes OPEN again when its evidence changes.
    """

    class State(models.TextChoices):
        """Whether a decision is needed."""

        OPEN = "OPEN"
        NOTED = "NOTED"
        IGNORED = "IGNORED"
        RESOLVED = "RESOLVED"

    kind = models.CharField(max_length=32)
    connection = models.ForeignKey(ExecutionConnection, models.CASCADE, related_name="drift")
    order_id = models.BigIntegerField(null=True, blank=True)
    position_id = models.BigIntegerField(null=True, blank=True)
    key = models.CharField(max_length=120, help_text="The subject of the difference.")
    evidence = models.JSONField(default=dict)
    state = ChoiceField(max_length=8, choices=State, default=State.OPEN, db_default="OPEN")
    decision = ChoiceField(max_length=6, choices=Decision, blank=True, default="", db_default="")
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )
    decided_at = models.DateTimeField(null=True, blank=True)
    resolution = models.CharField(max_length=300, blank=True, default="", db_default="")
    found_at = models.DateTimeField(db_default=ClockTimestamp())
    seen_at = models.DateTimeField(db_default=ClockTimestamp())
    resolved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "kind", "key"],
                condition=~Q(state="RESOLVED"),
                name="one_live_drift",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"

    @property
    def is_open(self) -> bool:
        """Whether it waits for a decision."""
        return self.state == self.State.OPEN
