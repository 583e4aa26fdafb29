"""Answers of decision providers about entries."""

import django.db.models.deletion
from django.db import migrations, models

import common.fields
from common.row_security import MY_CONNECTION_BY_SUBSELECT, tenant_rows


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0012_decision_step"),
        ("execution", "0004_order_sent"),
    ]

    operations = [
        migrations.CreateModel(
            name="EntryDecision",
            fields=[
                (
                    "order",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="decision",
                        serialize=False,
                        to="execution.order",
                    ),
                ),
                ("provider_name", models.CharField(max_length=100)),
                ("factor", common.fields.AmountField(null=True)),
                ("reason", models.CharField(blank=True, db_default="", default="", max_length=300)),
                ("failure", models.CharField(blank=True, db_default="", default="", max_length=64)),
                ("detail", models.CharField(blank=True, db_default="", default="", max_length=300)),
                ("latency_ms", models.IntegerField()),
                ("asked_at", models.DateTimeField()),
                ("answered_at", models.DateTimeField()),
                ("attempt", models.SmallIntegerField()),
                ("asked_count", models.IntegerField(db_default=1, default=1)),
                ("market", models.JSONField(db_default={}, default=dict)),
                (
                    "connection",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="connections.executionconnection",
                    ),
                ),
                (
                    "provider",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="connections.decisionprovider",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("factor__gte", 0),
                                ("factor__isnull", False),
                                ("factor__lte", 3),
                                ("failure", ""),
                            ),
                            models.Q(
                                ("factor__isnull", True), models.Q(("failure", ""), _negated=True)
                            ),
                            _connector="OR",
                        ),
                        name="decision_has_factor_or_failure",
                    )
                ],
            },
        ),
        tenant_rows("execution_entrydecision", MY_CONNECTION_BY_SUBSELECT, write="false"),
    ]
