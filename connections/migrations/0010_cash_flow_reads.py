"""How far deposits and withdrawals are read; those that change the equity only."""

import django.db.models.deletion
from django.db import migrations, models

from common.row_security import MY_CONNECTION_BY_SUBSELECT, tenant_rows


class Migration(migrations.Migration):
    dependencies = [("connections", "0009_entry_limits")]

    operations = [
        migrations.AddField(
            model_name="cashflow",
            name="is_credit",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="It changed the equity, not the balance.",
            ),
        ),
        migrations.CreateModel(
            name="CashFlowRead",
            fields=[
                (
                    "connection",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="cash_flow_read",
                        serialize=False,
                        to="connections.executionconnection",
                    ),
                ),
                (
                    "read_at",
                    models.DateTimeField(
                        help_text="`read_at` of the last state that was stored with its flows.",
                        null=True,
                    ),
                ),
                (
                    "missing_since",
                    models.DateTimeField(
                        help_text="`read_at` of the first state since then without its flows.",
                        null=True,
                    ),
                ),
                (
                    "error",
                    models.CharField(blank=True, db_default="", default="", max_length=200),
                ),
                (
                    "retry_at",
                    models.DateTimeField(
                        help_text="The broker does not list them; it is tried again then.",
                        null=True,
                    ),
                ),
            ],
        ),
        tenant_rows("connections_cashflowread", MY_CONNECTION_BY_SUBSELECT, write="false"),
    ]
