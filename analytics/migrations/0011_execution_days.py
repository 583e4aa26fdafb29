"""How the orders of each UTC day were executed, for operators."""

from decimal import Decimal

import django.contrib.postgres.fields
from django.db import migrations, models

import common.db_functions
import common.fields
from common.row_security import operator_rows


class Migration(migrations.Migration):
    dependencies = [
        ("analytics", "0010_delayed_records"),
    ]

    operations = [
        migrations.CreateModel(
            name="ExecutionDay",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "part",
                    models.CharField(
                        choices=[
                            ("all", "All"),
                            ("broker", "Broker"),
                            ("symbol", "Symbol"),
                            ("hour", "Hour, UTC"),
                            ("type", "Order type"),
                            ("account", "Account"),
                            ("place", "Place in the fan-out"),
                        ],
                        max_length=7,
                    ),
                ),
                ("is_paper", models.BooleanField()),
                ("is_exit", models.BooleanField()),
                (
                    "day",
                    models.DateField(
                        help_text="UTC, machine time, on which the orders were written."
                    ),
                ),
                ("value", models.CharField(blank=True, max_length=40)),
                (
                    "currency",
                    models.CharField(blank=True, help_text="Empty: never read.", max_length=16),
                ),
                ("orders", models.BigIntegerField(default=0)),
                ("skipped", models.BigIntegerField(default=0)),
                ("denied", models.BigIntegerField(default=0)),
                (
                    "unsent",
                    models.BigIntegerField(
                        default=0, help_text="Waiting, or ended before they were sent."
                    ),
                ),
                ("failed", models.BigIntegerField(default=0)),
                ("filled", models.BigIntegerField(default=0, help_text="At least in part.")),
                ("cancelled", models.BigIntegerField(default=0, help_text="Sent, nothing filled.")),
                ("expired", models.BigIntegerField(default=0, help_text="Sent, nothing filled.")),
                ("rejected", models.BigIntegerField(default=0)),
                ("unknown", models.BigIntegerField(default=0)),
                (
                    "working",
                    models.BigIntegerField(
                        default=0, help_text="At the broker, nothing filled yet."
                    ),
                ),
                (
                    "limited",
                    models.BigIntegerField(default=0, help_text="Filled, with a slippage limit."),
                ),
                (
                    "beyond_limit",
                    models.BigIntegerField(default=0, help_text="With a fill beyond that limit."),
                ),
                ("pips_count", models.BigIntegerField(default=0)),
                ("pips_sum", common.fields.AmountField(default=Decimal("0"))),
                (
                    "pips_squares",
                    models.DecimalField(decimal_places=18, default=Decimal("0"), max_digits=60),
                ),
                (
                    "pips_largest",
                    common.fields.AmountField(help_text="The largest absolute value.", null=True),
                ),
                ("bps_count", models.BigIntegerField(default=0)),
                ("bps_sum", common.fields.AmountField(default=Decimal("0"))),
                (
                    "bps_squares",
                    models.DecimalField(decimal_places=18, default=Decimal("0"), max_digits=60),
                ),
                ("bps_largest", common.fields.AmountField(null=True)),
                ("commission", common.fields.AmountField(default=Decimal("0"))),
                (
                    "unconverted",
                    models.BigIntegerField(default=0, help_text="Orders with fees without a rate."),
                ),
                (
                    "missed",
                    models.BigIntegerField(default=0, help_text="Entries that others filled."),
                ),
                ("missed_priced", models.BigIntegerField(default=0)),
                (
                    "missed_cost",
                    common.fields.AmountField(
                        default=Decimal("0"), help_text="What others earned of these."
                    ),
                ),
                (
                    "sketch_keys",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.IntegerField(), default=list, size=None
                    ),
                ),
                (
                    "sketch_counts",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.IntegerField(), default=list, size=None
                    ),
                ),
                (
                    "newest_line",
                    models.BigIntegerField(
                        help_text="Of the execution log, when computed.", null=True
                    ),
                ),
                ("seconds", models.FloatField(default=0, help_text="That the computation took.")),
                (
                    "computed_at",
                    models.DateTimeField(db_default=common.db_functions.ClockTimestamp()),
                ),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("part", "is_paper", "is_exit", "day", "value", "currency"),
                        name="one_execution_day",
                    )
                ],
            },
        ),
        operator_rows("analytics_executionday"),
    ]
