"""The one row of the outside watchdog's ping."""

from django.db import migrations, models

from common.row_security import operator_rows
from common.table_statistics import ANALYZE_RARELY


class Migration(migrations.Migration):
    dependencies = [
        ("common", "0009_call_figures"),
        ("execution", "0053_orders_of_a_day"),
    ]

    operations = [
        migrations.CreateModel(
            name="WatchdogPing",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("checked_at", models.DateTimeField()),
                ("pinged_at", models.DateTimeField(null=True)),
                ("fault", models.CharField(blank=True, db_default="", max_length=500)),
                ("error", models.CharField(blank=True, db_default="", max_length=200)),
                ("error_since", models.DateTimeField(null=True)),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("id", 1)), name="one_watchdog_ping")
                ],
            },
        ),
        operator_rows("execution_watchdogping"),
        migrations.RunSQL(ANALYZE_RARELY, migrations.RunSQL.noop),
    ]
    safe_beside_released_code = {
        "DO $$": "it sets when tables are analyzed, which no code depends on"
    }
