"""Events, who is notified of them, and by which channel."""

from uuid import uuid4

from django.conf import settings
from django.db import migrations, models

from common.db_functions import ClockTimestamp
from common.row_security import MINE, tenant_rows

KINDS = [
    ("signal.published", "Signal Published"),
    ("signal.incomplete", "Signal Incomplete"),
    ("order.skipped", "Order Skipped"),
    ("order.placed", "Order Placed"),
    ("order.filled", "Order Filled"),
    ("order.partially_filled", "Order Partially Filled"),
    ("order.denied", "Order Denied"),
    ("order.rejected", "Order Rejected"),
    ("order.failed", "Order Failed"),
    ("order.unknown", "Order Unknown"),
    ("order.unexpectedly_live", "Order Unexpectedly Live"),
    ("order.stuck", "Order Stuck"),
    ("order.unknown_too_long", "Order Unknown Too Long"),
    ("order.cancelled", "Order Cancelled"),
    ("order.expired", "Order Expired"),
    ("position.opened", "Position Opened"),
    ("position.closed", "Position Closed"),
    ("position.unprotected", "Position Unprotected"),
    ("exit.delayed", "Exit Delayed"),
    ("slippage.alert", "Slippage Alert"),
    ("connection.error", "Connection Error"),
    ("connection.inactive", "Connection Inactive"),
    ("connection.recovered", "Connection Recovered"),
    ("host.down", "Host Down"),
    ("host.up", "Host Up"),
    ("drift.found", "Drift Found"),
    ("api_key.ends_soon", "Api Key Ends Soon"),
    ("api_key.ended", "Api Key Ended"),
    ("password.changed", "Password Changed"),
    ("audit.failed", "Audit Failed"),
    ("audit.not_judged", "Audit Not Judged"),
    ("audit_trail.broken", "Audit Trail Broken"),
    ("audit_trail.intact", "Audit Trail Intact"),
    ("scheduler.late", "Scheduler Late"),
    ("scheduler.back", "Scheduler Back"),
    ("kill_switch.changed", "Kill Switch"),
    ("channel.test", "Channel Test"),
    ("channel.confirmation", "Channel Confirmation"),
]
MY_CHANNEL = "channel_id IN (SELECT mine.id FROM events_channel mine)"  # itself under its policy


class Migration(migrations.Migration):
    initial = True
    dependencies = [("users", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="Event",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("kind", models.CharField(choices=KINDS, max_length=40)),
                ("user_id", models.BigIntegerField(null=True)),
                ("connection_id", models.UUIDField(null=True)),
                ("signal_id", models.BigIntegerField(null=True)),
                ("order_id", models.BigIntegerField(null=True)),
                ("payload", models.JSONField(db_default={}, default=dict)),
                ("created_at", models.DateTimeField(db_default=ClockTimestamp())),
                ("routed_at", models.DateTimeField(null=True)),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("routed_at", None)), fields=["id"], name="event_due"
                    ),
                    models.Index(
                        condition=models.Q(("kind", "channel.confirmation")),
                        fields=["user_id", "created_at"],
                        name="event_confirmations",
                    ),
                ]
            },
        ),
        migrations.CreateModel(
            name="Notification",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=models.CASCADE,
                        related_name="notifications",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("event_id", models.BigIntegerField()),
                ("kind", models.CharField(choices=KINDS, max_length=40)),
                ("title", models.CharField(max_length=200)),
                ("body", models.TextField(blank=True)),
                ("created_at", models.DateTimeField(db_default=ClockTimestamp())),
                ("read_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "ordering": ("-id",),
                "indexes": [models.Index(fields=["user", "-id"], name="notification_inbox")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("user", "event_id"), name="one_notification_an_event"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Channel",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.UUIDField(default=uuid4, editable=False, unique=True)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=models.CASCADE,
                        related_name="channels",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                (
                    "url_sealed",
                    models.BinaryField(help_text="The apprise URL; it may hold tokens."),
                ),
                (
                    "url_display",
                    models.CharField(help_text="Scheme and host only.", max_length=100),
                ),
                (
                    "kinds",
                    models.JSONField(
                        blank=True, default=list, help_text="Event kinds; empty: all."
                    ),
                ),
                ("is_active", models.BooleanField(default=True)),
                ("consecutive_failures", models.IntegerField(db_default=0, default=0)),
                ("last_error", models.TextField(blank=True, db_default="", default="")),
                ("last_sent_at", models.DateTimeField(blank=True, null=True)),
                (
                    "backoff_until",
                    models.DateTimeField(
                        blank=True, help_text="Nothing is sent before; machine time.", null=True
                    ),
                ),
                (
                    "confirmed_at",
                    models.DateTimeField(
                        blank=True, help_text="When the e-mail address was confirmed.", null=True
                    ),
                ),
                ("confirmation_requested_at", models.DateTimeField(blank=True, null=True)),
                (
                    "confirm_by",
                    models.DateTimeField(
                        blank=True,
                        help_text="An older channel receives messages until then without confirmation.",
                        null=True,
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("is_active", True), ("kinds__has_key", "order.placed")),
                        fields=["user"],
                        name="channel_wants_placed",
                    )
                ]
            },
        ),
        migrations.CreateModel(
            name="Delivery",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("event_id", models.BigIntegerField()),
                (
                    "channel",
                    models.ForeignKey(
                        on_delete=models.CASCADE, related_name="deliveries", to="events.channel"
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[("PENDING", "Pending"), ("SENT", "Sent"), ("FAILED", "Failed")],
                        db_default="PENDING",
                        default="PENDING",
                        max_length=10,
                    ),
                ),
                ("tries", models.SmallIntegerField(db_default=0, default=0)),
                (
                    "due_at",
                    models.DateTimeField(
                        db_default=ClockTimestamp(),
                        help_text="When it is tried next, with the channel's backoff.",
                    ),
                ),
                ("last_error", models.TextField(blank=True, db_default="", default="")),
                ("sent_at", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name_plural": "deliveries",
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "PENDING")),
                        fields=["channel", "event_id"],
                        name="delivery_waiting",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("event_id", "channel"), name="one_delivery_a_channel"
                    )
                ],
            },
        ),
        tenant_rows("events_event", MINE, write="false", add=MINE),
        tenant_rows("events_notification", MINE),
        tenant_rows("events_channel", MINE),
        tenant_rows("events_delivery", MY_CHANNEL),
        # Changed by its user and by operators: users/migrations/sql/guards.sql has the function.
        migrations.RunSQL(
            "CREATE TRIGGER fillcast_guard_setting BEFORE INSERT OR UPDATE OR DELETE ON events_channel"
            " FOR EACH ROW EXECUTE FUNCTION public.fillcast_guard_setting('{}')"
        ),
    ]
