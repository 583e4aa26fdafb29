"""Alerts are judged by those that were sent later, found by feed and symbol; removed by age."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("signals", "0012_approver")]

    operations = [
        migrations.AddField(
            "receivedalert",
            "pair",
            models.CharField(blank=True, db_default="", default="", max_length=20),
        ),
        migrations.AddField(
            "receivedalert",
            "ended_side",
            models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Trades of which side, begun before it, are over or smaller:"
                " BUY, SELL, BOTH.",
                max_length=4,
            ),
        ),
        migrations.AlterField(
            "receivedalert",
            "change",
            models.CharField(
                help_text="entry, add, reduce, reverse, flat or close; open or modify of a signal.",
                max_length=7,
            ),
        ),
        migrations.RemoveIndex("receivedalert", "received_alert_sent"),
        migrations.AddIndex(
            "receivedalert",
            models.Index(fields=["feed", "pair", "sent_at"], name="received_alert_sequence"),
        ),
        migrations.AddIndex(
            "receivedalert",
            models.Index(fields=["received_at"], name="received_alert_received"),
        ),
    ]
