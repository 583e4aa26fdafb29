"""Funding payments of perpetuals."""

import django.db.models.deletion
from django.db import migrations, models

import common.db_functions
import common.fields
from common.row_security import MY_CONNECTION_BY_SUBSELECT, tenant_rows


class Migration(migrations.Migration):
    dependencies = [("connections", "0025_funding_reads")]

    operations = [
        migrations.CreateModel(
            name="FundingPayment",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("reference", models.CharField(help_text="The exchange's number.", max_length=100)),
                ("symbol", models.CharField(max_length=40)),
                (
                    "amount",
                    common.fields.AmountField(
                        decimal_places=18, help_text="Below 0 if it was charged.", max_digits=38
                    ),
                ),
                ("currency", models.CharField(max_length=10)),
                (
                    "quantity",
                    common.fields.AmountField(
                        decimal_places=18,
                        help_text="Of the whole position there, base units; empty: not stated.",
                        max_digits=38,
                        null=True,
                    ),
                ),
                ("at", models.DateTimeField(help_text="The exchange's time.")),
                (
                    "recorded_at",
                    models.DateTimeField(db_default=common.db_functions.ClockTimestamp()),
                ),
                ("booked_at", models.DateTimeField(null=True)),
                (
                    "shares",
                    models.JSONField(
                        blank=True,
                        db_default={},
                        default=dict,
                        help_text="What each position got of it, by the position's id.",
                    ),
                ),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="funding_payments",
                        to="connections.executionconnection",
                    ),
                ),
            ],
            options={
                "ordering": ("-at", "-id"),
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("connection", "reference"), name="one_funding_a_reference"
                    )
                ],
                "indexes": [
                    models.Index(
                        condition=models.Q(("booked_at__isnull", True)),
                        fields=["id"],
                        name="funding_unbooked",
                    )
                ],
            },
        ),
        tenant_rows("connections_fundingpayment", MY_CONNECTION_BY_SUBSELECT, write="false"),
    ]
