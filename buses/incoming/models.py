"""Which subjects may come in, and each message that did."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from common.db.functions import ClockTimestamp
from common.fields import ChoiceField

STORED_BYTES = 16 * 1024  # of a message; a larger one is refused anyway
SIGNALS, FILLS = "signals.approved.", "mt5.fills."  # what subjects begin with


class BusRoute(models.Model):
    """A subject that an operator lets in: signals for one feed, or fills of one account.

    What comes by any other subject is a dead letter.
    """

    subject = models.CharField(max_length=200)
    feed = models.ForeignKey("signals.Feed", models.CASCADE, null=True, blank=True)
    connection = models.ForeignKey(
        "connections.ExecutionConnection", models.CASCADE, null=True, blank=True
    )
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("subject", "-id")
        constraints = [
            models.UniqueConstraint(
                fields=["subject"], condition=Q(ended_at__isnull=True), name="one_bus_route"
            ),
            models.CheckConstraint(
                condition=Q(feed__isnull=False, connection__isnull=True)
                | Q(feed__isnull=True, connection__isnull=False),
                name="bus_route_has_one_target",
            ),
        ]

    def __str__(self) -> str:
        return self.subject


class BusLane(models.Model):
    """What comes in by one bus, and how its reception goes. Its URL is not stored.

    created_at: since when it is to be received: it was configured, or resumed. ended_at: since when
    it is not configured any more. bus: what its messages have as theirs; empty before the first
    poll. position: until where it
    was read, for people. cursor: how far a bus that does not count for us was read.
    """

    name = models.CharField(max_length=250, unique=True)
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    ended_at = models.DateTimeField(null=True)
    paused_at = models.DateTimeField(null=True, blank=True)
    paused_by = models.CharField(max_length=150, blank=True, default="", db_default="")
    polled_at = models.DateTimeField(null=True)
    failures = models.IntegerField(
        default=0, db_default=0, help_text="Failures since the last success."
    )
    last_error = models.CharField(max_length=500, blank=True, default="", db_default="")
    last_error_at = models.DateTimeField(null=True)
    alerted_at = models.DateTimeField(null=True)
    bus = models.CharField(max_length=200, blank=True, default="", db_default="")
    position = models.CharField(max_length=200, blank=True, default="", db_default="")
    last_message_at = models.DateTimeField(null=True)
    cursor = models.JSONField(default=dict, db_default={})

    class Meta:
        ordering = ("name",)
        verbose_name = "lane from a bus"
        verbose_name_plural = "lanes from buses"

    def __str__(self) -> str:
        return self.name

    @property
    def received_at(self) -> datetime:
        """When it was last received; if never, since when it could be."""
        return max(self.created_at, self.polled_at or self.created_at)

    @property
    def subjects(self) -> str:
        """What the subjects of its messages begin with."""
        return FILLS if self.name.endswith("#fills") else SIGNALS


class MessageState(models.TextChoices):
    """What became of a message."""

    DONE = "DONE", "Carried out"
    DEAD = "DEAD", "Dead letter"
    DISCARDED = "DISCARDED", "Discarded"


class BusMessageQuerySet(models.QuerySet["BusMessage"]):
    """Messages by what is to be done."""

    def dead(self) -> Self:
        """Those that an operator may replay or discard."""
        return self.filter(state=MessageState.DEAD)


class BusMessage(models.Model):
    """A message that came in, and what became of it. Its row makes the message id count once for
    its subject.

    bus: where it came from, without secrets. stored_at: when the bus stored it. body: its first
    16 KiB. digest: SHA-256 of all of it. length: of all of it, in bytes. is_repeat: it is not
    the one that its id counts for: another content had the id before, or has corrected it.
    is_close: by its text it is to close something.
    """

    bus = models.CharField(max_length=200)
    message_id = models.CharField(max_length=200)
    subject = models.CharField(max_length=200)
    body = models.BinaryField()
    digest = models.CharField(max_length=64)
    length = models.BigIntegerField()
    is_repeat = models.BooleanField(default=False, db_default=False)
    is_close = models.BooleanField(default=False, db_default=False)
    stored_at = models.DateTimeField()
    received_at = models.DateTimeField(db_default=ClockTimestamp())
    settled_at = models.DateTimeField(db_default=ClockTimestamp())
    state = ChoiceField(max_length=9, choices=MessageState)
    code = models.CharField(max_length=64, blank=True, default="", db_default="")
    detail = models.CharField(max_length=2000, blank=True, default="", db_default="")
    signal = models.ForeignKey("signals.Signal", models.SET_NULL, null=True, related_name="+")
    replays = models.PositiveSmallIntegerField(default=0, db_default=0)
    replay_requested_at = models.DateTimeField(null=True, blank=True)
    alerted_at = models.DateTimeField(null=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+",
        help_text="Who requested the last replay, or discarded it.",
    )  # fmt: skip

    objects = BusMessageQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(
                fields=["bus", "subject", "message_id"],
                condition=Q(is_repeat=False),
                name="one_message_of_subject",
            ),
            models.UniqueConstraint(
                fields=["bus", "subject", "message_id", "digest"], name="one_message_content"
            ),
            models.CheckConstraint(
                condition=~Q(state="DEAD") | Q(code__gt=""), name="dead_message_has_reason"
            ),
        ]
        indexes = [
            models.Index(fields=["-id"], condition=Q(state="DEAD"), name="bus_message_dead"),
            models.Index(
                fields=["id"],
                condition=Q(state="DEAD", alerted_at__isnull=True),
                name="bus_message_to_alert",
            ),
            models.Index(
                fields=["alerted_at"],
                condition=Q(alerted_at__isnull=False),
                name="bus_message_alerted",
            ),
            models.Index(fields=["settled_at"], name="bus_message_settled"),
            models.Index(
                fields=["replay_requested_at"],
                condition=Q(replay_requested_at__isnull=False),
                name="bus_message_replay",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.subject} {self.message_id}"

    @property
    def is_whole(self) -> bool:
        """Whether all of its body is stored."""
        return self.length == len(bytes(self.body))
