"""No alert has the source TEST: a text that is tested is not stored."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("signals", "0023_telegram"),
    ]

    operations = [
        migrations.AlterField(
            model_name="incomingalert",
            name="source",
            field=models.CharField(
                choices=[("WEBHOOK", "Webhook"), ("TELEGRAM", "Telegram")],
                db_default="WEBHOOK",
                default="WEBHOOK",
                max_length=8,
            ),
        ),
    ]
