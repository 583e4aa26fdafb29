"""The inbox of alerts: each is stored when it arrives, and published by a worker."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from common.db.functions import ClockTimestamp
from common.fields import ChoiceField


class AlertState(models.TextChoices):
    """What became of an alert."""

    WAITING = "WAITING", "Waits"
    PUBLISHED = "PUBLISHED", "Published"
    NOTHING = "NOTHING", "Nothing to do"
    REPEATED = "REPEATED", "Sent before"
    REFUSED = "REFUSED", "Refused"
    EXPIRED = "EXPIRED", "Too old"


class AlertSource(models.TextChoices):
    """How an alert came in."""

    WEBHOOK = "WEBHOOK", "Webhook"
    TELEGRAM = "TELEGRAM", "Telegram"


class Refusal(models.TextChoices):
    """What kind of error a refusal is; it decides the HTTP status of its answer."""

    INVALID = "INVALID"
    CONFLICT = "CONFLICT"
    NOT_ALLOWED = "NOT_ALLOWED"
    THROTTLED = "THROTTLED"


class IncomingAlert(models.Model):
    """An alert as it arrived, and what became of it. Stored for a week.

    A row that waits is the job: a worker publishes it, in the order of arrival within its feed and
    symbol (`alerts/inbox/publishing.py`).
    """

    feed = models.ForeignKey("signals.Feed", models.CASCADE, related_name="incoming_alerts")
    token = models.ForeignKey("signals.FeedToken", models.SET_NULL, null=True, related_name="+")
    source = ChoiceField(
        max_length=8, choices=AlertSource, default=AlertSource.WEBHOOK, db_default="WEBHOOK"
    )
    source_key = models.CharField(
        max_length=100, blank=True, default="", db_default="",
        help_text="What its source calls it; the same key again is the same alert. Empty: none.",
    )  # fmt: skip
    reply_to = models.CharField(
        max_length=60, blank=True, default="", db_default="",
        help_text="The message that it answers: it is about that message's trade.",
    )  # fmt: skip
    edit_of = models.CharField(
        max_length=60, blank=True, default="", db_default="",
        help_text="The published message that it edits: it may change its levels.",
    )  # fmt: skip
    address = models.GenericIPAddressField(null=True, help_text="From where it was sent.")
    body = models.BinaryField()
    symbol = models.CharField(
        max_length=20, blank=True, default="", db_default="",
        help_text="Alerts of one symbol wait for each other. Empty: it waits for all before it.",
    )  # fmt: skip
    state = ChoiceField(
        max_length=9, choices=AlertState, default=AlertState.WAITING, db_default="WAITING"
    )
    received_at = models.DateTimeField(db_default=ClockTimestamp())
    entry_until = models.DateTimeField(
        null=True, help_text="It opens no trade after that. Null: it opens none."
    )
    expires_at = models.DateTimeField(null=True, help_text="It waits at most until then.")
    due_at = models.DateTimeField(db_default=ClockTimestamp())
    attempts = models.PositiveSmallIntegerField(default=0, db_default=0)
    settled_at = models.DateTimeField(null=True)
    code = models.CharField(
        max_length=64, blank=True, default="", db_default="",
        help_text="Why it was refused, or why the last attempt failed.",
    )  # fmt: skip
    detail = models.TextField(blank=True, default="", db_default="")
    refusal = ChoiceField(max_length=11, choices=Refusal, blank=True, default="", db_default="")
    errors = models.JSONField(default=list, db_default=[])
    change = models.CharField(max_length=7, blank=True, default="", db_default="")
    summary = models.CharField(max_length=300, blank=True, default="", db_default="")
    signal_ids = ArrayField(models.BigIntegerField(), default=list, db_default=[])

    class Meta:
        indexes = [
            models.Index(
                fields=["feed", "id"],
                condition=Q(state="WAITING"),
                name="incoming_alert_waiting",
            ),
            models.Index(fields=["feed", "-id"], name="incoming_alert_log"),
            models.Index(fields=["received_at"], name="incoming_alert_received"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["feed", "source", "source_key"],
                condition=~Q(source_key=""),
                name="one_incoming_alert",
            ),
            models.CheckConstraint(
                condition=Q(state="WAITING", settled_at__isnull=True, expires_at__isnull=False)
                | ~Q(state="WAITING") & Q(settled_at__isnull=False),
                name="settled_alert_has_end",
            ),
            models.CheckConstraint(
                condition=Q(state__in=("REFUSED", "EXPIRED"), refusal__gt="")
                | ~Q(state__in=("REFUSED", "EXPIRED")) & Q(refusal=""),
                name="refused_alert_has_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"Alert {self.pk}"

    @property
    def is_waiting(self) -> bool:
        """Whether a worker has still to publish it."""
        return self.state == AlertState.WAITING

    @property
    def text(self) -> str:
        """Its body as text, for people."""
        return bytes(self.body).decode("utf-8", "replace").replace("\x00", "�")
