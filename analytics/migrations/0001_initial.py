"""The daily results of each connection."""

from decimal import Decimal

from django.db import migrations, models

from common.db_functions import ClockTimestamp
from common.fields import AmountField
from common.row_security import MY_CONNECTION_BY_SUBSELECT, tenant_rows


class Migration(migrations.Migration):
    initial = True
    dependencies = [("connections", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="AnalyticsDaily",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=models.CASCADE,
                        related_name="analytics",
                        to="connections.executionconnection",
                    ),
                ),
                (
                    "day",
                    models.DateField(
                        help_text="Trading day in the preset's zone; it ends at 17:00 there."
                    ),
                ),
                ("trades", models.IntegerField(default=0)),
                ("wins", models.IntegerField(default=0)),
                ("losses", models.IntegerField(default=0)),
                ("gross_profit", AmountField(default=Decimal("0"))),
                ("gross_loss", AmountField(default=Decimal("0"), help_text="A positive number.")),
                ("commission", AmountField(default=Decimal("0"))),
                (
                    "unconverted_fees",
                    models.JSONField(
                        blank=True,
                        db_default={},
                        default=dict,
                        help_text="Fees for which no rate was quoted, by currency; in no sum.",
                    ),
                ),
                ("total_pnl", AmountField(default=Decimal("0"), help_text="Net of commission.")),
                ("highest_prefix", AmountField(default=Decimal("0"))),
                ("lowest_prefix", AmountField(default=Decimal("0"))),
                ("max_drawdown", AmountField(default=Decimal("0"), help_text="A positive number.")),
                (
                    "duration_seconds",
                    AmountField(default=Decimal("0"), help_text="Of all trades together."),
                ),
                ("computed_at", models.DateTimeField(db_default=ClockTimestamp())),
            ],
            options={
                "verbose_name_plural": "analytics (daily)",
                "ordering": ("-day", "connection_id"),
                "indexes": [models.Index(fields=["day"], name="analytics_day")],
                "constraints": [
                    models.UniqueConstraint(fields=("connection", "day"), name="one_row_a_day")
                ],
            },
        ),
        tenant_rows("analytics_analyticsdaily", MY_CONNECTION_BY_SUBSELECT, write="false"),
    ]
