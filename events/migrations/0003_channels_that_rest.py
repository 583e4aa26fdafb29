"""A channel that fails rests, and its URL is sealed under a key of its own row."""

import uuid

import common.database
from django.db import migrations, models

KINDS = [
    ("signal.published", "Signal Published"),
    ("order.filled", "Order Filled"),
    ("order.partially_filled", "Order Partially Filled"),
    ("order.denied", "Order Denied"),
    ("order.rejected", "Order Rejected"),
    ("order.failed", "Order Failed"),
    ("order.unknown", "Order Unknown"),
    ("order.cancelled", "Order Cancelled"),
    ("order.expired", "Order Expired"),
    ("position.opened", "Position Opened"),
    ("position.closed", "Position Closed"),
    ("position.unprotected", "Position Unprotected"),
    ("slippage.alert", "Slippage Alert"),
    ("connection.error", "Connection Error"),
    ("connection.recovered", "Connection Recovered"),
    ("drift.found", "Drift Found"),
    ("audit.failed", "Audit Failed"),
    ("kill_switch.changed", "Kill Switch"),
    ("channel.test", "Channel Test"),
]


def keys_of_their_own(apps, schema_editor):
    for channel in apps.get_model("events", "Channel").objects.all():
        channel.key = uuid.uuid4()
        channel.save(update_fields=["key"])


class Migration(migrations.Migration):
    dependencies = [("events", "0002_row_security")]
    operations = [
        migrations.RemoveIndex(model_name="delivery", name="delivery_due"),
        migrations.AddField("channel", "key", models.UUIDField(null=True, editable=False)),
        migrations.RunPython(keys_of_their_own, migrations.RunPython.noop),
        migrations.AlterField(
            "channel", "key", models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
        ),
        migrations.AddField(
            "channel", "failures_in_a_row", models.IntegerField(default=0, db_default=0)
        ),
        migrations.AddField(
            "channel", "last_error", models.TextField(blank=True, default="", db_default="")
        ),
        migrations.AddField(
            "channel", "last_sent_at", models.DateTimeField(null=True, blank=True)
        ),
        migrations.AddField(
            "channel",
            "rest_until",
            models.DateTimeField(
                null=True, blank=True, help_text="Nothing is sent before; machine time."
            ),
        ),
        migrations.AlterField(
            "delivery",
            "due_at",
            models.DateTimeField(
                db_default=common.database.ClockTimestamp(),
                help_text="Of the next try, with the channel's rest.",
            ),
        ),
        migrations.AlterField("event", "kind", models.CharField(choices=KINDS, max_length=40)),
        migrations.AlterField(
            "notification", "kind", models.CharField(choices=KINDS, max_length=40)
        ),
        migrations.AddIndex(
            "delivery",
            models.Index(
                condition=models.Q(("status", "PENDING")),
                fields=["channel", "event_id"],
                name="delivery_waiting",
            ),
        ),
    ]
