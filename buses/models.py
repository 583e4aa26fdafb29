"""How far each sink has read, what it refused, and what is announced to sinks alone."""

from __future__ import annotations

from typing import Self

from django.db import models

from buses.incoming.models import BusLane, BusMessage, BusRoute
from common.db.functions import ClockTimestamp
from common.fields import ChoiceField

__all__ = (
    "Announcement", "BusLane", "BusMessage", "BusRoute", "BusSink", "DeadLetter", "SinkCursor",
)  # fmt: skip


class BusSink(models.Model):
    """A sink that has been configured, and how it does. Its URL is not stored."""

    name = models.CharField(max_length=200, unique=True)
    paused_at = models.DateTimeField(null=True, blank=True)
    paused_by = models.CharField(max_length=150, blank=True, default="", db_default="")
    rewind_to = models.DateTimeField(
        null=True, blank=True, help_text="Requested: deliver again what happened since then."
    )
    holder = models.CharField(max_length=80, blank=True, default="", db_default="")
    lease_until = models.DateTimeField(null=True)
    fence = models.BigIntegerField(default=0, db_default=0)
    delivered = models.BigIntegerField(
        default=0, db_default=0, help_text="Events that the bus has confirmed."
    )
    read_to = models.DateTimeField(
        db_default=ClockTimestamp(),
        help_text="Everything up to then was delivered, but for what was not committed yet.",
    )
    is_behind = models.BooleanField(
        default=False, db_default=False, help_text="There was more to read at the last read."
    )
    last_success_at = models.DateTimeField(null=True)
    failures = models.IntegerField(
        default=0, db_default=0, help_text="Failures since the last success."
    )
    last_error = models.CharField(max_length=500, blank=True, default="", db_default="")
    last_error_at = models.DateTimeField(null=True)
    alerted_at = models.DateTimeField(
        null=True, help_text="When operators were alerted that it is behind; NULL: it is not."
    )
    retry_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("name",)
        verbose_name = "bus"
        verbose_name_plural = "buses"

    def __str__(self) -> str:
        return self.name


class SinkCursor(models.Model):
    """How far a sink has read one source.

    last_id: the highest id that was read. gaps: lower ids that were missing then, as
    `buses.gaps.Gaps` stores them: their transactions may commit later.
    """

    sink = models.ForeignKey(BusSink, models.CASCADE, related_name="cursors")
    source = models.CharField(max_length=20)
    last_id = models.BigIntegerField()
    gaps = models.JSONField(default=list, db_default=[])

    class Meta:
        constraints = [models.UniqueConstraint(fields=["sink", "source"], name="one_cursor")]

    def __str__(self) -> str:
        return f"{self.source} of {self.sink_id}"


class DeadLetterQuerySet(models.QuerySet["DeadLetter"]):
    """Dead letters by what is to be done."""

    def waiting(self) -> Self:
        """Those that no replay has delivered."""
        return self.filter(replayed_at=None)


class DeadLetter(models.Model):
    """An event that a bus refused, or that could not be made. envelope: as it was to be sent."""

    sink = models.ForeignKey(BusSink, models.CASCADE, related_name="dead_letters")
    envelope_id = models.CharField(max_length=200)
    type = models.CharField(max_length=60)
    reason = models.CharField(max_length=500)
    envelope = models.JSONField(default=dict)
    at = models.DateTimeField(db_default=ClockTimestamp())
    replay_requested_at = models.DateTimeField(null=True, blank=True)
    replayed_at = models.DateTimeField(null=True, blank=True)

    objects = DeadLetterQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(fields=["sink", "envelope_id"], name="one_dead_letter")
        ]
        indexes = [
            models.Index(
                fields=["sink", "id"],
                name="dead_letter_waiting",
                condition=models.Q(replayed_at__isnull=True),
            )
        ]

    def __str__(self) -> str:
        return self.envelope_id


class Announcement(models.Model):
    """Something that no other table keeps by line, such as a day whose results were computed."""

    class Kind(models.TextChoices):
        """What is announced."""

        ANALYTICS_READY = "analytics_ready", "The results of a day are computed"

    kind = ChoiceField(max_length=30, choices=Kind)
    data = models.JSONField(default=dict)
    at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.kind} #{self.pk}"
