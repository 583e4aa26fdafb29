"""The outbox of events, and the notifications, channels and deliveries made from it.

An event is written in the transaction of the change that it reports, and delivered afterwards.
"""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from common.db_functions import ClockTimestamp


class EventKind(models.TextChoices):
    """What an event reports. docs/notifications.md lists them."""

    SIGNAL_PUBLISHED = "signal.published"
    SIGNAL_INCOMPLETE = "signal.incomplete"
    ALERT_REFUSED = "alert.refused"
    TELEGRAM_STOPPED = "telegram.stopped"
    ORDER_SKIPPED = "order.skipped"
    ORDER_PLACED = "order.placed"
    ORDER_FILLED = "order.filled"
    ORDER_PARTIALLY_FILLED = "order.partially_filled"
    ORDER_DENIED = "order.denied"
    ORDER_REJECTED = "order.rejected"
    ORDER_FAILED = "order.failed"
    ORDER_UNKNOWN = "order.unknown"
    ORDER_UNEXPECTEDLY_LIVE = "order.unexpectedly_live"
    ORDER_STUCK = "order.stuck"
    ORDER_UNKNOWN_TOO_LONG = "order.unknown_too_long"
    ORDER_CHANGED = "order.changed"
    ORDER_CANCELLED = "order.cancelled"
    ORDER_EXPIRED = "order.expired"
    POSITION_OPENED = "position.opened"
    POSITION_CLOSED = "position.closed"
    POSITION_UNPROTECTED = "position.unprotected"
    POSITION_STOP_MOVED = "position.stop_moved"
    EXIT_DELAYED = "exit.delayed"
    SLIPPAGE_ALERT = "slippage.alert"
    CONNECTION_ERROR = "connection.error"
    CONNECTION_INACTIVE = "connection.inactive"
    CONNECTION_RECOVERED = "connection.recovered"
    HOST_DOWN = "host.down"
    HOST_UP = "host.up"
    DRIFT_FOUND = "drift.found"
    API_KEY_ENDS_SOON = "api_key.ends_soon"
    API_KEY_ENDED = "api_key.ended"
    PASSWORD_CHANGED = "password.changed"  # noqa: S105  # the kind of an event
    AUDIT_FAILED = "audit.failed"
    AUDIT_NOT_JUDGED = "audit.not_judged"
    AUDIT_TRAIL_BROKEN = "audit_trail.broken"
    AUDIT_TRAIL_INTACT = "audit_trail.intact"
    SCHEDULER_LATE = "scheduler.late"
    SCHEDULER_BACK = "scheduler.back"
    KILL_SWITCH = "kill_switch.changed"
    LOSS_LIMIT_REACHED = "loss_limit.reached"
    TRADING_RESUMED = "trading.resumed"
    CHANNEL_TEST = "channel.test"
    CHANNEL_CONFIRMATION = "channel.confirmation"


ALARMS = frozenset(
    {
        EventKind.ORDER_FAILED,
        EventKind.ORDER_UNKNOWN,
        EventKind.ORDER_UNEXPECTEDLY_LIVE,
        EventKind.ORDER_STUCK,
        EventKind.ORDER_UNKNOWN_TOO_LONG,
        EventKind.POSITION_UNPROTECTED,
        EventKind.EXIT_DELAYED,
        EventKind.SLIPPAGE_ALERT,
        EventKind.CONNECTION_ERROR,
        EventKind.CONNECTION_INACTIVE,
        EventKind.CONNECTION_RECOVERED,
        EventKind.HOST_DOWN,
        EventKind.HOST_UP,
        EventKind.DRIFT_FOUND,
        EventKind.AUDIT_FAILED,
        EventKind.AUDIT_NOT_JUDGED,
        EventKind.AUDIT_TRAIL_BROKEN,
        EventKind.AUDIT_TRAIL_INTACT,
        EventKind.SCHEDULER_LATE,
        EventKind.SCHEDULER_BACK,
        EventKind.KILL_SWITCH,
        EventKind.LOSS_LIMIT_REACHED,
    }
)
"""The kinds that operators receive as well as the owner."""

TO_ONE_CHANNEL = frozenset({EventKind.CHANNEL_TEST, EventKind.CHANNEL_CONFIRMATION})
"""The kinds that go only to the channel they are about, whatever its `kinds`, and to no inbox."""

ON_REQUEST = frozenset({EventKind.ORDER_PLACED, EventKind.POSITION_STOP_MOVED})
"""The kinds that go only to channels that list them: to no inbox, to no channel of all kinds."""


class Event(models.Model):
    """One thing that happened. Ids are plain numbers, because an event outlives its subject."""

    kind = models.CharField(max_length=40, choices=EventKind)
    user_id = models.BigIntegerField(null=True)  # the owner; None: operators only
    connection_id = models.UUIDField(null=True)
    signal_id = models.BigIntegerField(null=True)
    order_id = models.BigIntegerField(null=True)
    payload = models.JSONField(default=dict, db_default={})
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    routed_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["id"], name="event_due", condition=Q(routed_at=None)),
            models.Index(
                fields=["user_id", "created_at"],
                name="event_confirmations",
                condition=Q(kind="channel.confirmation"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} #{self.pk}"


class Notification(models.Model):
    """A message in a user's inbox."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="notifications")
    event_id = models.BigIntegerField()
    kind = models.CharField(max_length=40, choices=EventKind)
    title = models.CharField(max_length=200)
    body = models.TextField(blank=True)
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    read_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(fields=["user", "event_id"], name="one_notification_an_event"),
        ]
        indexes = [models.Index(fields=["user", "-id"], name="notification_inbox")]

    def __str__(self) -> str:
        return self.title


class Channel(models.Model):
    """Where else a user receives messages: e-mail, Discord, a webhook (an apprise URL).

    A channel that fails backs off; its events wait and go out as one message.
    """

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="channels")
    name = models.CharField(max_length=100)
    url_sealed = models.BinaryField(help_text="The apprise URL; it may hold tokens.")
    url_display = models.CharField(max_length=100, help_text="Scheme and host only.")
    kinds = models.JSONField(default=list, blank=True, help_text="Event kinds; empty: all.")
    is_active = models.BooleanField(default=True)
    consecutive_failures = models.IntegerField(default=0, db_default=0)
    last_error = models.TextField(blank=True, default="", db_default="")
    last_sent_at = models.DateTimeField(null=True, blank=True)
    backoff_until = models.DateTimeField(
        null=True, blank=True, help_text="Nothing is sent before; machine time."
    )
    confirmed_at = models.DateTimeField(
        null=True, blank=True, help_text="When the e-mail address was confirmed."
    )
    confirmation_requested_at = models.DateTimeField(null=True, blank=True)
    confirm_by = models.DateTimeField(
        null=True,
        blank=True,
        help_text="An older channel receives messages until then without confirmation.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["user"],
                name="channel_wants_placed",
                condition=Q(is_active=True, kinds__has_key="order.placed"),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_mail(self) -> bool:
        """Whether it is an e-mail address, which has to be confirmed."""
        return self.url_display.startswith("mailto:")


class Delivery(models.Model):
    """One event for one channel, tried until it is sent or has been tried TRIES times."""

    class Status(models.TextChoices):
        PENDING = "PENDING"
        SENT = "SENT"
        FAILED = "FAILED"

    event_id = models.BigIntegerField()
    channel = models.ForeignKey(Channel, models.CASCADE, related_name="deliveries")
    status = models.CharField(
        max_length=10, choices=Status, default=Status.PENDING, db_default=Status.PENDING
    )
    tries = models.SmallIntegerField(default=0, db_default=0)
    due_at = models.DateTimeField(
        db_default=ClockTimestamp(), help_text="When it is tried next, with the channel's backoff."
    )
    last_error = models.TextField(blank=True, default="", db_default="")
    sent_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(fields=["event_id", "channel"], name="one_delivery_a_channel"),
        ]
        indexes = [
            models.Index(
                fields=["channel", "event_id"],
                name="delivery_waiting",
                condition=Q(status="PENDING"),
            ),
        ]

    def __str__(self) -> str:
        return f"event {self.event_id} to {self.channel_id}"
