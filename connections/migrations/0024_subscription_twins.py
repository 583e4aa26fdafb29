"""Paper twins: paper accounts that take the same signals as a live subscription."""

import django.db.models.deletion
from django.db import migrations, models

import common.fields
from common.audit_trail_sql import track
from common.row_security import MY_CONNECTIONS_BY_SUBSELECT, tenant_rows

MY_TWIN = (
    "subscription_id IN (SELECT own.id FROM connections_subscription own"
    f" WHERE own.connection_id IN ({MY_CONNECTIONS_BY_SUBSELECT})) AND connection_id IN ({MY_CONNECTIONS_BY_SUBSELECT})"
)


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0023_backfill_cash_flow_equity"),
    ]

    operations = [
        migrations.CreateModel(
            name="SubscriptionTwin",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("opening_balance", common.fields.AmountField()),
                ("currency", models.CharField(max_length=10)),
                ("started_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "end_reason",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("STOPPED", "You stopped it"),
                            ("SUBSCRIPTION", "The live subscription ended"),
                            ("FEED", "The feed was archived"),
                            ("ACCOUNT", "Its paper account was removed"),
                        ],
                        default="",
                        max_length=12,
                    ),
                ),
                (
                    "connection",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="twin_of",
                        to="connections.executionconnection",
                    ),
                ),
                (
                    "subscription",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="twins",
                        to="connections.subscription",
                    ),
                ),
                (
                    "twin",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="twin_of",
                        to="connections.subscription",
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("ended_at", None)),
                        fields=("subscription",),
                        name="one_running_twin",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("subscription", models.F("twin")), _negated=True),
                        name="twin_is_another_subscription",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("end_reason", ""), ("ended_at", None)),
                            models.Q(
                                ("ended_at__isnull", False),
                                models.Q(("end_reason", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="twin_end_has_reason",
                    ),
                ],
            },
        ),
        tenant_rows("connections_subscriptiontwin", MY_TWIN),
        track("connections_subscriptiontwin"),
    ]
