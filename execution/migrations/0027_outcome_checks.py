"""Signals whose rejected and skipped orders operators may have to be notified of."""

from django.db import migrations, models

import common.database
from common.row_security import operator_rows


class Migration(migrations.Migration):
    dependencies = [
        ("execution", "0026_retried_orders"),
        ("events", "0011_orders_skipped_and_placed"),
    ]
    operations = [
        migrations.CreateModel(
            name="OutcomeCheck",
            fields=[
                ("signal_id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("created_at", models.DateTimeField(db_default=common.database.ClockTimestamp())),
                ("due_at", models.DateTimeField(db_index=True)),
                ("reported", models.JSONField(null=True)),
            ],
        ),
        operator_rows("execution_outcomecheck"),
    ]
