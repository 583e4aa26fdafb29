"""The one row of the outside watchdog's ping."""

from django.db import migrations, models

from common.row_security import operator_rows


class Migration(migrations.Migration):
    dependencies = [("execution", "0053_orders_of_a_day")]

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
    ]
