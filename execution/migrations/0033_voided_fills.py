"""Executions that their broker has corrected to nothing."""

import django.db.models.deletion
from django.db import migrations, models

from common.row_security import operator_rows


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0022_cash_flow_read_equity"),
        ("execution", "0032_passed_pending_action"),
    ]

    operations = [
        migrations.CreateModel(
            name="VoidedFill",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("broker_fill_id", models.CharField(max_length=100)),
                (
                    "revision",
                    models.SmallIntegerField(help_text="Of the correction to nothing."),
                ),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="connections.executionconnection",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("connection", "broker_fill_id"), name="one_void"
                    )
                ],
            },
        ),
        operator_rows("execution_voidedfill"),
    ]
