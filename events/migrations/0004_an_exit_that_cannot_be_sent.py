"""A kind of event more: an exit that the broker cannot be given, while its position is open."""

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
    ("exit.delayed", "Exit Delayed"),
    ("slippage.alert", "Slippage Alert"),
    ("connection.error", "Connection Error"),
    ("connection.recovered", "Connection Recovered"),
    ("drift.found", "Drift Found"),
    ("audit.failed", "Audit Failed"),
    ("kill_switch.changed", "Kill Switch"),
    ("channel.test", "Channel Test"),
]


class Migration(migrations.Migration):
    dependencies = [("events", "0003_channels_that_rest")]
    operations = [
        migrations.AlterField("event", "kind", models.CharField(choices=KINDS, max_length=40)),
        migrations.AlterField(
            "notification", "kind", models.CharField(choices=KINDS, max_length=40)
        ),
    ]
