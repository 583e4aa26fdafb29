"""The plans of entries in slices."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

import common.db_functions
import common.fields
from common.row_security import MY_CONNECTION_BY_SUBSELECT, tenant_rows


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0009_entry_limits"),
        ("execution", "0005_decision_step"),
    ]

    operations = [
        migrations.CreateModel(
            name="SlicePlan",
            fields=[
                (
                    "order",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="slice_plan",
                        serialize=False,
                        to="execution.order",
                    ),
                ),
                (
                    "style",
                    models.CharField(
                        choices=[("TWAP", "TWAP: equal parts over time")], max_length=4
                    ),
                ),
                ("seed", models.BigIntegerField()),
                ("quantity", common.fields.AmountField()),
                ("quantity_step", common.fields.AmountField()),
                ("quantity_min", common.fields.AmountField()),
                (
                    "offsets",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.IntegerField(), size=None
                    ),
                ),
                (
                    "quantities",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=common.fields.AmountField(), size=None
                    ),
                ),
                (
                    "catch_up",
                    models.CharField(
                        choices=[
                            ("CATCH_UP", "The next slices send it too"),
                            ("SKIP", "It is left out"),
                        ],
                        max_length=8,
                    ),
                ),
                (
                    "at_end",
                    models.CharField(
                        choices=[("LEAVE", "It is left out"), ("MARKET", "It is sent at market")],
                        max_length=6,
                    ),
                ),
                (
                    "arrival_price",
                    common.fields.AmountField(
                        help_text="The price at which it would have filled at its start."
                    ),
                ),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                (
                    "created_at",
                    models.DateTimeField(db_default=common.db_functions.ClockTimestamp()),
                ),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="connections.executionconnection",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("quantity__gt", 0), ("quantity_min__gte", 0), ("quantity_step__gte", 0)
                        ),
                        name="plan_quantity_gt_0",
                    )
                ],
            },
        ),
        tenant_rows("execution_sliceplan", MY_CONNECTION_BY_SUBSELECT, write="false"),
    ]
