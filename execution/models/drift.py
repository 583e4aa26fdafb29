"""Differences between us and a broker, and what was decided about them."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from common.db_functions import ClockTimestamp
from connections.models import ExecutionConnection


class Decision(models.TextChoices):
    """What somebody decided about a difference."""

    NONE = ""
    ADOPT = "ADOPT", "Take the broker's side over"
    RELINK = "RELINK", "It is really one of ours"
    CLOSE = "CLOSE", "Close it"
    IGNORE = "IGNORE", "Leave it as it is"


class DriftItem(models.Model):
    """A difference between us and a broker, with its evidence, waiting for a decision.

    It lives until a clean comparison does not see it any more. NOTED: told to nobody and never
    touched (an order that is not ours). IGNORED comes back as OPEN when its evidence changes.
    """

    class State(models.TextChoices):
        OPEN = "OPEN"
        NOTED = "NOTED"
        IGNORED = "IGNORED"
        RESOLVED = "RESOLVED"

    kind = models.CharField(max_length=32)
    connection = models.ForeignKey(ExecutionConnection, models.CASCADE, related_name="drift")
    order_id = models.BigIntegerField(null=True, blank=True)
    position_id = models.BigIntegerField(null=True, blank=True)
    key = models.CharField(max_length=120, help_text="What the difference is about.")
    evidence = models.JSONField(default=dict)
    state = models.CharField(max_length=8, choices=State, default=State.OPEN, db_default="OPEN")
    decision = models.CharField(
        max_length=6, choices=Decision, blank=True, default="", db_default=""
    )
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
        return self.state == self.State.OPEN
