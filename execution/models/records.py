"""Records for people: the log of orders, dropped messages, audits."""

from __future__ import annotations

from typing import Self

from django.db import models
from django.db.models import OuterRef, Subquery, Sum

from common.db.functions import ClockTimestamp
from common.fields import ChoiceField


class ExecutionLog(models.Model):
    """Append-only: one line for each attempt and transition. Ids are plain, no foreign keys."""

    order_id = models.BigIntegerField(null=True)
    signal_id = models.BigIntegerField(null=True)
    connection_id = models.UUIDField(null=True)
    code = models.CharField(max_length=64)
    status = models.CharField(max_length=16, blank=True, default="", db_default="")
    detail = models.CharField(max_length=2000, blank=True, default="", db_default="")
    numbers = models.JSONField(default=dict, db_default={})
    at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        ordering = ("-id",)
        indexes = [
            models.Index(fields=["order_id"], name="log_of_order"),
            models.Index(  # lines about positions; those about orders are far more
                fields=["signal_id", "connection_id"],
                name="log_of_position",
                condition=models.Q(order_id__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code} of order {self.order_id}"


class DroppedMessageCountQuerySet(models.QuerySet["DroppedMessageCount"]):
    """Counts, of which a name may have several rows."""

    def summed(self) -> Self:
        """Return the newest row of each name, with `total`: the sum of all rows of that name."""
        newest = DroppedMessageCount.objects.order_by("name", "-sampled_at", "-id").distinct("name")
        of_name = (
            DroppedMessageCount.objects.filter(name=OuterRef("name")).order_by().values("name")
        )
        return self.filter(pk__in=newest.values("pk")).annotate(
            total=Subquery(of_name.annotate(total=Sum("count")).values("total"))
        )


class DroppedMessageCount(models.Model):
    """How often a message or report was dropped, for the operators.

    Each count inserts a row, so that no batch waits for another one; rows are merged regularly.
    """

    class Name(models.TextChoices):
        MALFORMED = "message.malformed", "Message that is no list of ids"
        UNKNOWN_IDS = "message.unknown_ids", "Order in a message that does not exist"
        ENDED = "message.ended", "Order in a message that had ended"
        UNKNOWN_TASK = "message.unknown_task", "Message for a task that does not exist"
        UNKNOWN_CONNECTION = "report.unknown_connection", "Report about an unknown connection"
        UNREADABLE_ROW = "row.unreadable", "Row of a broker's list that cannot be read"
        LOST_SPAN = "trace.span", "Span that did not reach the collector of traces"
        ARCHIVED_ORDER = "report.archived_order", "Report that repeats how an archived order ended"

    name = ChoiceField(max_length=40, choices=Name)
    count = models.BigIntegerField(default=0, db_default=0)
    sample = models.CharField(max_length=200, blank=True, default="", db_default="")
    sampled_at = models.DateTimeField(db_default=ClockTimestamp())

    objects = DroppedMessageCountQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "dropped messages"

    def __str__(self) -> str:
        return f"{self.get_name_display()}: {self.count}"


class AuditRun(models.Model):
    """The result of an hourly audit."""

    at = models.DateTimeField(db_default=ClockTimestamp(), db_index=True)
    ok = models.BooleanField()
    counters = models.JSONField(default=dict)
    unread = models.JSONField(default=list, help_text="Broker types whose books could not be read.")
    judged = models.IntegerField(
        default=0, db_default=0, help_text="Accounts judged by what their brokers listed."
    )
    not_judged = models.JSONField(
        default=list, db_default=[], help_text="Accounts that could not be judged, and why."
    )

    class Meta:
        ordering = ("-at",)

    def __str__(self) -> str:
        return f"audit of {self.at:%Y-%m-%d %H:%M}"
