"""The outbox of events, and the notifications, channels and deliveries made from it.

An event is written in the transaction of the change that it reports, and delivered afterwards.
"""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from common.db.functions import ClockTimestamp
from common.fields import ChoiceField
from common.names import NameField


class EventKind(models.TextChoices):
    """What an event reports. docs/notifications.md lists them."""

    SIGNAL_PUBLISHED = "signal.published"
    SIGNAL_INCOMPLETE = "signal.incomplete"
    SIGNAL_EXECUTED = "signal.executed"
    ALERT_REFUSED = "alert.refused"
    TELEGRAM_STOPPED = "telegram.stopped"
    FEED_APPROVAL_ASKED = "feed.approval_asked"
    FEED_APPROVAL_DECIDED = "feed.approval_decided"
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
    PRICES_LOST = "prices.lost"
    PRICES_BACK = "prices.back"
    PRICES_ON_FALLBACK = "prices.on_fallback"
    PRICES_ON_PRIMARY = "prices.on_primary"
    DRIFT_FOUND = "drift.found"
    API_KEY_MADE = "api_key.made"
    API_KEY_ENDS_SOON = "api_key.ends_soon"
    API_KEY_ENDED = "api_key.ended"
    API_KEY_NEW_NETWORK = "api_key.new_network"
    PASSWORD_CHANGED = "password.changed"  # noqa: S105  # the kind of an event
    AUDIT_FAILED = "audit.failed"
    AUDIT_NOT_JUDGED = "audit.not_judged"
    AUDIT_TRAIL_BROKEN = "audit_trail.broken"
    AUDIT_TRAIL_INTACT = "audit_trail.intact"
    SCHEDULER_LATE = "scheduler.late"
    SCHEDULER_BACK = "scheduler.back"
    CLOCK_SET_BACK = "clock.set_back"
    SETTINGS_REFUSED = "settings.refused"
    BUS_LATE = "bus.late"
    BUS_BACK = "bus.back"
    BUS_NOT_RECEIVED = "bus.not_received"
    BUS_RECEIVED = "bus.received"
    BUS_MESSAGE_REFUSED = "bus.message_refused"
    KILL_SWITCH = "kill_switch.changed"
    LOSS_LIMIT_REACHED = "loss_limit.reached"
    TRADING_RESUMED = "trading.resumed"
    CHANNEL_ENDED = "channel.ended"
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
        EventKind.PRICES_LOST,
        EventKind.PRICES_BACK,
        EventKind.PRICES_ON_FALLBACK,
        EventKind.PRICES_ON_PRIMARY,
        EventKind.DRIFT_FOUND,
        EventKind.AUDIT_FAILED,
        EventKind.AUDIT_NOT_JUDGED,
        EventKind.AUDIT_TRAIL_BROKEN,
        EventKind.AUDIT_TRAIL_INTACT,
        EventKind.SCHEDULER_LATE,
        EventKind.SCHEDULER_BACK,
        EventKind.CLOCK_SET_BACK,
        EventKind.SETTINGS_REFUSED,
        EventKind.BUS_LATE,
        EventKind.BUS_BACK,
        EventKind.BUS_NOT_RECEIVED,
        EventKind.BUS_RECEIVED,
        EventKind.BUS_MESSAGE_REFUSED,
        EventKind.KILL_SWITCH,
        EventKind.LOSS_LIMIT_REACHED,
    }
)
"""The kinds that operators receive as well as the owner."""

TO_ONE_CHANNEL = frozenset({EventKind.CHANNEL_TEST, EventKind.CHANNEL_CONFIRMATION})
"""The kinds that go only to the channel they are about, whatever its `kinds`, and to no inbox."""

ON_REQUEST = frozenset(
    {
        EventKind.ORDER_PLACED,
        EventKind.POSITION_OPENED,
        EventKind.POSITION_STOP_MOVED,
        EventKind.SIGNAL_EXECUTED,
    }
)
"""The kinds that go only to channels that list them: to no inbox, to no channel of all kinds."""

URGENT = frozenset(
    {
        EventKind.ORDER_UNEXPECTEDLY_LIVE,
        EventKind.ORDER_UNKNOWN_TOO_LONG,
        EventKind.ORDER_STUCK,
        EventKind.POSITION_UNPROTECTED,
        EventKind.EXIT_DELAYED,
        EventKind.SLIPPAGE_ALERT,
        EventKind.PRICES_LOST,
        EventKind.BUS_NOT_RECEIVED,
        EventKind.BUS_MESSAGE_REFUSED,
        EventKind.LOSS_LIMIT_REACHED,
        EventKind.KILL_SWITCH,
        EventKind.PASSWORD_CHANGED,
        EventKind.API_KEY_MADE,
        EventKind.API_KEY_NEW_NETWORK,
        EventKind.AUDIT_TRAIL_BROKEN,
    }
)
"""The kinds that wait for no quiet hours and no digest: money or a sign-in is at risk now."""


class Event(models.Model):
    """One thing that happened. Ids are plain numbers, because an event outlives its subject."""

    kind = ChoiceField(max_length=40, choices=EventKind)
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
    kind = ChoiceField(max_length=40, choices=EventKind)
    title = models.CharField(max_length=200)
    body = models.TextField(blank=True)
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    read_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(fields=["user", "event_id"], name="one_notification_an_event"),
        ]
        indexes = [
            models.Index(fields=["user", "-id"], name="notification_inbox"),
            models.Index(  # counted for each page
                fields=["user"], name="notification_unread", condition=Q(read_at__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return self.title


class Digest(models.TextChoices):
    """How often a channel receives what is not urgent."""

    AT_ONCE = "", "at once"
    HOURLY = "HOURLY", "once an hour"
    DAILY = "DAILY", "once a day"


class Channel(models.Model):
    """Where else a user receives messages: e-mail, Discord, a webhook (an apprise URL), a browser.

    A channel that fails backs off; its events wait and go out as one message.
    """

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="channels")
    name = NameField(max_length=100)
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
    secret_sealed = models.BinaryField(
        null=True, help_text="What a signed webhook is signed with; None: no signed webhook."
    )
    previous_secret_sealed = models.BinaryField(null=True)
    previous_secret_until = models.DateTimeField(
        null=True, help_text="Until then a webhook is signed with the previous secret as well."
    )
    quiet_from = models.TimeField(null=True, help_text="In the time zone of its user.")
    quiet_until = models.TimeField(null=True)
    digest = ChoiceField(
        max_length=10, choices=Digest, default=Digest.AT_ONCE, db_default="", blank=True
    )
    digest_at = models.TimeField(null=True, help_text="When a daily digest goes out.")
    test_event_id = models.BigIntegerField(null=True, help_text="The last test message's event.")
    push_key = models.CharField(
        max_length=100, blank=True, default="", db_default="",
        help_text="Our public key that a browser subscribed with; empty: no browser.",
    )  # fmt: skip
    push_digest = models.CharField(
        max_length=64, blank=True, default="", db_default="",
        help_text="Of the browser's subscription, by which the browser shows that it is the one.",
    )  # fmt: skip
    ended_at = models.DateTimeField(
        null=True, help_text="When the browser's push service stated that it has gone."
    )
    made_with = models.ForeignKey(
        "users.ApiKey", models.SET_NULL, null=True, blank=True, editable=False, related_name="+",
        help_text="The API key that added it. It outlives the key: its owner may switch it off.",
    )  # fmt: skip

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(quiet_from=None, quiet_until=None)
                | Q(quiet_from__isnull=False, quiet_until__isnull=False),
                name="quiet_hours_have_both_ends",
            ),
            models.CheckConstraint(
                condition=~Q(digest="DAILY") | Q(digest_at__isnull=False),
                name="a_daily_digest_has_a_time",
            ),
            models.CheckConstraint(
                condition=Q(ended_at=None) | Q(is_active=False), name="an_ended_channel_is_off"
            ),
            models.UniqueConstraint(
                fields=["push_digest", "user"],
                condition=~Q(push_digest=""),
                name="one_channel_a_subscription",
            ),
        ]
        indexes = [
            models.Index(
                fields=["user"],
                name="channel_wants_placed",
                condition=Q(is_active=True, kinds__has_key="order.placed"),
            ),
            models.Index(
                fields=["user"],
                name="channel_wants_opened",
                condition=Q(is_active=True, kinds__has_key="position.opened"),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_mail(self) -> bool:
        """Whether it is an e-mail address, which has to be confirmed."""
        return self.url_display.startswith("mailto:")

    @property
    def is_signed(self) -> bool:
        """Whether it is a webhook that is signed by Standard Webhooks."""
        return self.secret_sealed is not None

    @property
    def is_browser(self) -> bool:
        """Whether it is a browser that receives push messages."""
        return self.push_key != ""

    @property
    def has_log(self) -> bool:
        """Whether its messages keep their events in every repetition, and each try is logged."""
        return self.is_signed or self.is_browser


class Delivery(models.Model):
    """One event for one channel, tried until it is sent or has been tried TRIES times."""

    class Status(models.TextChoices):
        PENDING = "PENDING"
        SENT = "SENT"
        FAILED = "FAILED"

    event_id = models.BigIntegerField()
    channel = models.ForeignKey(Channel, models.CASCADE, related_name="deliveries")
    status = ChoiceField(
        max_length=10, choices=Status, default=Status.PENDING, db_default=Status.PENDING
    )
    tries = models.SmallIntegerField(default=0, db_default=0)
    due_at = models.DateTimeField(
        db_default=ClockTimestamp(), help_text="When it is tried next, with the channel's backoff."
    )
    last_error = models.TextField(blank=True, default="", db_default="")
    sent_at = models.DateTimeField(null=True)
    hold_until = models.DateTimeField(
        null=True, help_text="It waits until then for the end of quiet hours or for a digest."
    )
    released_at = models.DateTimeField(
        null=True, help_text="Since when it waits for nothing any more; NULL: since its event."
    )
    message_id = models.BigIntegerField(
        null=True, help_text="The logged message that it is part of, the same in every repetition."
    )

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(fields=["event_id", "channel"], name="one_delivery_a_channel"),
        ]
        indexes = [
            models.Index(
                fields=["channel", "event_id"],
                name="delivery_waiting",
                condition=Q(status="PENDING", hold_until=None),
            ),
            models.Index(
                fields=["hold_until"],
                name="delivery_held",
                condition=Q(hold_until__isnull=False),
            ),
            models.Index(
                fields=["channel", "hold_until"],
                name="delivery_held_of_channel",
                condition=Q(hold_until__isnull=False),
            ),
            models.Index(
                fields=["channel", "event_id"],
                name="delivery_failed",
                condition=Q(status="FAILED"),
            ),
            models.Index(
                fields=["message_id"],
                name="delivery_of_message",
                condition=Q(message_id__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"event {self.event_id} to {self.channel_id}"


class WebhookMessage(models.Model):
    """One message to a signed webhook or a browser: the same id and events in every repetition."""

    channel = models.ForeignKey(Channel, models.CASCADE, related_name="messages")
    uid = models.CharField(max_length=40, unique=True, help_text="The header webhook-id.")
    status = ChoiceField(
        max_length=10,
        choices=Delivery.Status,
        default=Delivery.Status.PENDING,
        db_default="PENDING",
    )
    events = models.IntegerField(help_text="How many events it reports.")
    title = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        indexes = [
            models.Index(fields=["channel", "-id"], name="webhook_messages"),
            models.Index(
                fields=["channel", "id"], name="webhook_unsent", condition=Q(status="PENDING")
            ),
        ]

    def __str__(self) -> str:
        return self.uid


class WebhookAttempt(models.Model):
    """One try to send a message: what the server answered, and when the next one is."""

    channel = models.ForeignKey(Channel, models.CASCADE, related_name="attempts")
    message = models.ForeignKey(WebhookMessage, models.CASCADE, related_name="attempts")
    at = models.DateTimeField(db_default=ClockTimestamp())
    status_code = models.SmallIntegerField(null=True, help_text="None: no answer.")
    duration_ms = models.IntegerField()
    answer = models.CharField(max_length=200, blank=True, help_text="Its first bytes.")
    error = models.TextField(blank=True, help_text="Empty: it was accepted.")
    next_attempt_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["message", "id"], name="webhook_attempts")]

    def __str__(self) -> str:
        return f"{self.message_id}: {self.status_code}"
