"""The recovery epochs of the database."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from common.db.functions import ClockTimestamp
from common.fields import ChoiceField
from connections.models.kill_switch import KillSwitch


class Epoch(models.Model):
    """A period in the life of this database.

    A new epoch begins when the database may have lost its newest rows: it was restored from a
    backup, or a standby was promoted that had not received everything. Epoch 1 is the first and is
    never open. While an epoch is open, its kill switch lets no entries through. All epochs of an
    installation have the same `lineage`, so that marks kept outside of the database are never
    compared with those of another installation.
    """

    class Cause(models.TextChoices):
        """Why the epoch began."""

        FOUNDED = "FOUNDED", "The first epoch of this database"
        COMMAND = "COMMAND", "Opened by an operator"
        BEHIND = "BEHIND", "The database is older than its last known state"
        PROMOTED = "PROMOTED", "Another timeline: a standby was promoted, or a backup recovered"
        COPIED = "COPIED", "Another server, and no high-water mark is left to compare with"

    number = models.PositiveIntegerField(primary_key=True)
    lineage = models.UUIDField(default=uuid.uuid4)
    cause = ChoiceField(max_length=10, choices=Cause)
    cluster = models.CharField(
        max_length=24, blank=True, default="", db_default="",
        help_text="System identifier of the server on which trading processes checked it.",
    )  # fmt: skip
    note = models.CharField(max_length=200, blank=True, default="", db_default="")
    evidence = models.JSONField(default=dict, db_default={})
    since = models.DateTimeField(
        db_default=ClockTimestamp(),
        help_text="Later rows are of this epoch; rows that followed earlier ones may be lost.",
    )
    opened_at = models.DateTimeField(db_default=ClockTimestamp())
    opened_by = models.CharField(max_length=150, blank=True, default="", db_default="")
    answer_by = models.DateTimeField(
        db_default=ClockTimestamp(),
        help_text="Until then a process of the previous epoch may still send its orders.",
    )
    books_read_at = models.DateTimeField(
        null=True, help_text="When brokers were queried for orders that we may have lost."
    )
    treated = models.JSONField(default=dict, db_default={}, help_text="How rows were resolved.")
    kill_switch = models.OneToOneField(KillSwitch, models.PROTECT, null=True, related_name="epoch")
    released_at = models.DateTimeField(null=True)
    released_by = models.CharField(max_length=150, blank=True, default="", db_default="")
    release_note = models.CharField(max_length=200, blank=True, default="", db_default="")
    left_open = models.JSONField(
        default=list, db_default=[], help_text="Open issues at the time of its release."
    )

    class Meta:
        ordering = ("-number",)
        constraints = [
            models.UniqueConstraint(
                fields=["lineage"], condition=Q(released_at__isnull=True), name="one_open_epoch"
            ),
        ]

    def __str__(self) -> str:
        return f"Epoch {self.number}"
