"""What trades cost, and how a signal was executed for everybody."""

import django.db.models.deletion
from django.db import migrations, models

import common.db_functions
import common.fields
from common.row_security import MY_CONNECTION_BY_SUBSELECT, SIGNED_IN, tenant_rows


class Migration(migrations.Migration):
    dependencies = [
        ("analytics", "0001_initial"),
        ("connections", "0023_backfill_cash_flow_equity"),
        ("positions", "0013_exit_condition_index"),
        ("signals", "0018_modified_price_limit"),
    ]

    operations = [
        migrations.CreateModel(
            name="SignalQuality",
            fields=[
                (
                    "signal",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="execution_quality",
                        serialize=False,
                        to="signals.signal",
                    ),
                ),
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
            ],
            options={
                "verbose_name_plural": "signal quality",
            },
        ),
        migrations.CreateModel(
            name="TradeCost",
            fields=[
                (
                    "position",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="cost",
                        serialize=False,
                        to="positions.executionposition",
                    ),
                ),
                (
                    "entry_spread",
                    common.fields.AmountField(
                        help_text="Half of the minute's mean spread at entry.", null=True
                    ),
                ),
                (
                    "exit_spread",
                    common.fields.AmountField(
                        help_text="Half of the minute's mean spread at exit.", null=True
                    ),
                ),
                (
                    "slippage",
                    common.fields.AmountField(
                        help_text="Of its orders whose slippage is known.", null=True
                    ),
                ),
                (
                    "computed_at",
                    models.DateTimeField(db_default=common.db_functions.ClockTimestamp()),
                ),
                (
                    "connection",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="connections.executionconnection",
                    ),
                ),
            ],
        ),
        tenant_rows("analytics_tradecost", MY_CONNECTION_BY_SUBSELECT, write="false"),
        # Fewer would show a single one.
        tenant_rows(
            "analytics_signalquality", "false", read=f"persons > 5 AND {SIGNED_IN}", write="false"
        ),
    ]
