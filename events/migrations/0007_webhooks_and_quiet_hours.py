"""Signed webhooks with their log, and quiet hours and digests of channels."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import common.db_functions
from common.row_security import tenant_rows

MY_CHANNEL = "channel_id IN (SELECT mine.id FROM events_channel mine)"  # itself under its policy


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0006_telegram_stopped"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="WebhookAttempt",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField(db_default=common.db_functions.ClockTimestamp())),
                ("status_code", models.SmallIntegerField(help_text="None: no answer.", null=True)),
                ("duration_ms", models.IntegerField()),
                (
                    "answer",
                    models.CharField(blank=True, help_text="Its first bytes.", max_length=200),
                ),
                ("error", models.TextField(blank=True, help_text="Empty: it was accepted.")),
                ("next_attempt_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="WebhookMessage",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "uid",
                    models.CharField(
                        help_text="The header webhook-id.", max_length=40, unique=True
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
                ("events", models.IntegerField(help_text="How many events it reports.")),
                ("title", models.CharField(blank=True, max_length=200)),
                (
                    "created_at",
                    models.DateTimeField(db_default=common.db_functions.ClockTimestamp()),
                ),
            ],
        ),
        migrations.RemoveIndex(
            model_name="delivery",
            name="delivery_waiting",
        ),
        migrations.AddField(
            model_name="channel",
            name="digest",
            field=models.CharField(
                blank=True,
                choices=[("", "at once"), ("HOURLY", "once an hour"), ("DAILY", "once a day")],
                db_default="",
                default="",
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name="channel",
            name="digest_at",
            field=models.TimeField(help_text="When a daily digest goes out.", null=True),
        ),
        migrations.AddField(
            model_name="channel",
            name="previous_secret_sealed",
            field=models.BinaryField(null=True),
        ),
        migrations.AddField(
            model_name="channel",
            name="previous_secret_until",
            field=models.DateTimeField(
                help_text="Until then a webhook is signed with the previous secret as well.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="channel",
            name="quiet_from",
            field=models.TimeField(help_text="In the time zone of its user.", null=True),
        ),
        migrations.AddField(
            model_name="channel",
            name="quiet_until",
            field=models.TimeField(null=True),
        ),
        migrations.AddField(
            model_name="channel",
            name="secret_sealed",
            field=models.BinaryField(
                help_text="What a signed webhook is signed with; None: no signed webhook.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="channel",
            name="test_event_id",
            field=models.BigIntegerField(help_text="The last test message's event.", null=True),
        ),
        migrations.AddField(
            model_name="delivery",
            name="hold_until",
            field=models.DateTimeField(
                help_text="It waits until then for the end of quiet hours or for a digest.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="delivery",
            name="message_id",
            field=models.BigIntegerField(
                help_text="The signed message that it is part of, the same in every repetition.",
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="event",
            name="kind",
            field=models.CharField(
                choices=[
                    ("signal.published", "Signal Published"),
                    ("signal.incomplete", "Signal Incomplete"),
                    ("alert.refused", "Alert Refused"),
                    ("telegram.stopped", "Telegram Stopped"),
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
                    ("order.changed", "Order Changed"),
                    ("order.cancelled", "Order Cancelled"),
                    ("order.expired", "Order Expired"),
                    ("position.opened", "Position Opened"),
                    ("position.closed", "Position Closed"),
                    ("position.unprotected", "Position Unprotected"),
                    ("position.stop_moved", "Position Stop Moved"),
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
                    ("api_key.new_network", "Api Key New Network"),
                    ("password.changed", "Password Changed"),
                    ("audit.failed", "Audit Failed"),
                    ("audit.not_judged", "Audit Not Judged"),
                    ("audit_trail.broken", "Audit Trail Broken"),
                    ("audit_trail.intact", "Audit Trail Intact"),
                    ("scheduler.late", "Scheduler Late"),
                    ("scheduler.back", "Scheduler Back"),
                    ("kill_switch.changed", "Kill Switch"),
                    ("loss_limit.reached", "Loss Limit Reached"),
                    ("trading.resumed", "Trading Resumed"),
                    ("channel.test", "Channel Test"),
                    ("channel.confirmation", "Channel Confirmation"),
                ],
                max_length=40,
            ),
        ),
        migrations.AlterField(
            model_name="notification",
            name="kind",
            field=models.CharField(
                choices=[
                    ("signal.published", "Signal Published"),
                    ("signal.incomplete", "Signal Incomplete"),
                    ("alert.refused", "Alert Refused"),
                    ("telegram.stopped", "Telegram Stopped"),
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
                    ("order.changed", "Order Changed"),
                    ("order.cancelled", "Order Cancelled"),
                    ("order.expired", "Order Expired"),
                    ("position.opened", "Position Opened"),
                    ("position.closed", "Position Closed"),
                    ("position.unprotected", "Position Unprotected"),
                    ("position.stop_moved", "Position Stop Moved"),
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
                    ("api_key.new_network", "Api Key New Network"),
                    ("password.changed", "Password Changed"),
                    ("audit.failed", "Audit Failed"),
                    ("audit.not_judged", "Audit Not Judged"),
                    ("audit_trail.broken", "Audit Trail Broken"),
                    ("audit_trail.intact", "Audit Trail Intact"),
                    ("scheduler.late", "Scheduler Late"),
                    ("scheduler.back", "Scheduler Back"),
                    ("kill_switch.changed", "Kill Switch"),
                    ("loss_limit.reached", "Loss Limit Reached"),
                    ("trading.resumed", "Trading Resumed"),
                    ("channel.test", "Channel Test"),
                    ("channel.confirmation", "Channel Confirmation"),
                ],
                max_length=40,
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("hold_until", None), ("status", "PENDING")),
                fields=["channel", "event_id"],
                name="delivery_waiting",
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("hold_until__isnull", False)),
                fields=["hold_until"],
                name="delivery_held",
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("hold_until__isnull", False)),
                fields=["channel", "hold_until"],
                name="delivery_held_of_channel",
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("message_id__isnull", False)),
                fields=["message_id"],
                name="delivery_of_message",
            ),
        ),
        migrations.AddConstraint(
            model_name="channel",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("quiet_from", None), ("quiet_until", None)),
                    models.Q(("quiet_from__isnull", False), ("quiet_until__isnull", False)),
                    _connector="OR",
                ),
                name="quiet_hours_have_both_ends",
            ),
        ),
        migrations.AddConstraint(
            model_name="channel",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("digest", "DAILY"), _negated=True),
                    ("digest_at__isnull", False),
                    _connector="OR",
                ),
                name="a_daily_digest_has_a_time",
            ),
        ),
        migrations.AddField(
            model_name="webhookattempt",
            name="channel",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="attempts",
                to="events.channel",
            ),
        ),
        migrations.AddField(
            model_name="webhookmessage",
            name="channel",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="messages",
                to="events.channel",
            ),
        ),
        migrations.AddField(
            model_name="webhookattempt",
            name="message",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="attempts",
                to="events.webhookmessage",
            ),
        ),
        migrations.AddIndex(
            model_name="webhookmessage",
            index=models.Index(fields=["channel", "-id"], name="webhook_messages"),
        ),
        migrations.AddIndex(
            model_name="webhookmessage",
            index=models.Index(
                condition=models.Q(("status", "PENDING")),
                fields=["channel", "id"],
                name="webhook_unsent",
            ),
        ),
        migrations.AddIndex(
            model_name="webhookattempt",
            index=models.Index(fields=["message", "id"], name="webhook_attempts"),
        ),
        tenant_rows("events_webhookmessage", MY_CHANNEL, add="false"),
        tenant_rows("events_webhookattempt", MY_CHANNEL, add="false"),
    ]
