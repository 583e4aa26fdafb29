import common.database
import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

from common.row_security import TENANT, tenant_rows

OF_MY_FEED = f"feed_id IN (SELECT mine.id FROM signals_feed mine WHERE mine.owner_id = {TENANT})"


class Migration(migrations.Migration):
    dependencies = [("signals", "0008_approval_triggers")]

    operations = [
        migrations.CreateModel(
            name="ReceivedAlert",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.CharField(max_length=64)),
                (
                    "change",
                    models.CharField(
                        help_text="entry, add, reduce, reverse, flat or close.", max_length=7
                    ),
                ),
                ("summary", models.CharField(max_length=300)),
                (
                    "signal_ids",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(), default=list, size=None
                    ),
                ),
                (
                    "sent_at",
                    models.DateTimeField(help_text="By its sender's clock.", null=True),
                ),
                ("received_at", models.DateTimeField(db_default=common.database.ClockTimestamp())),
                (
                    "feed",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="received_alerts",
                        to="signals.feed",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["feed", "key"], name="received_alert_key"),
                    models.Index(fields=["feed", "sent_at"], name="received_alert_sent"),
                ],
            },
        ),
        tenant_rows("signals_receivedalert", OF_MY_FEED),
    ]
