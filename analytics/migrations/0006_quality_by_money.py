"""Medians of a signal's execution for real and for paper money.

The stored ones mix both, so they go; the next run of the daily job computes all of them again.
"""

import django.db.models.deletion
from django.db import migrations, models

import common.db_functions
import common.fields
from common.row_security import SIGNED_IN, tenant_rows


class Migration(migrations.Migration):
    dependencies = [("analytics", "0005_daily_swap"), ("signals", "0018_modified_price_limit")]

    operations = [
        migrations.DeleteModel(name="SignalQuality"),
        migrations.CreateModel(
            name="SignalQuality",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("is_paper", models.BooleanField(default=False)),
                ("persons", models.IntegerField()),
                (
                    "unit",
                    models.CharField(
                        blank=True, help_text="Empty: the persons differ.", max_length=7
                    ),
                ),
                (
                    "slippage",
                    common.fields.AmountField(help_text="In the unit, + is worse.", null=True),
                ),
                ("bps", common.fields.AmountField(null=True)),
                ("to_wire_ms", common.fields.AmountField(null=True)),
                ("to_fill_ms", common.fields.AmountField(null=True)),
                (
                    "computed_at",
                    models.DateTimeField(db_default=common.db_functions.ClockTimestamp()),
                ),
                (
                    "signal",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="signals.signal",
                    ),
                ),
            ],
            options={"verbose_name_plural": "signal quality"},
        ),
        migrations.AddConstraint(
            model_name="signalquality",
            constraint=models.UniqueConstraint(
                fields=("signal", "is_paper"), name="one_quality_of_money"
            ),
        ),
        # Fewer would show a single one.
        tenant_rows(
            "analytics_signalquality", "false", read=f"persons > 5 AND {SIGNED_IN}", write="false"
        ),
    ]
