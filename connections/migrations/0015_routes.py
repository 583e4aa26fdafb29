"""Routes: several accounts of a subscription, of which one executes each signal."""

import django.db.models.deletion
from django.db import migrations, models

from common.audit_trail_sql import track
from common.row_security import MY_CONNECTIONS_BY_SUBSELECT, tenant_rows

MY_ROUTE = (
    "subscription_id IN (SELECT own.id FROM connections_subscription own"
    f" WHERE own.connection_id IN ({MY_CONNECTIONS_BY_SUBSELECT})) AND connection_id IN ({MY_CONNECTIONS_BY_SUBSELECT})"
)


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0014_subscription_priority"),
        ("signals", "0008_execution_style"),
    ]

    operations = [
        migrations.CreateModel(
            name="SubscriptionRoute",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("rank", models.SmallIntegerField()),
                ("share", models.SmallIntegerField(db_default=1, default=1)),
            ],
            options={
                "ordering": ("rank",),
            },
        ),
        migrations.AddField(
            model_name="subscription",
            name="route_policy",
            field=models.CharField(
                blank=True,
                choices=[
                    ("PRICE", "Best price, then spread"),
                    ("HEALTH", "Healthy for longest"),
                    ("LATENCY", "Quickest answers"),
                    ("SHARE", "In proportion to shares"),
                ],
                db_default="",
                default="",
                help_text="How the account that executes a signal is chosen. Empty: this account alone.",
                max_length=7,
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("route_policy__in", ("", "PRICE", "HEALTH", "LATENCY", "SHARE"))
                ),
                name="subscription_route_policy_known",
            ),
        ),
        migrations.AddField(
            model_name="subscriptionroute",
            name="connection",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="connections.executionconnection",
            ),
        ),
        migrations.AddField(
            model_name="subscriptionroute",
            name="feed",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="signals.feed",
            ),
        ),
        migrations.AddField(
            model_name="subscriptionroute",
            name="subscription",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="routes",
                to="connections.subscription",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscriptionroute",
            constraint=models.UniqueConstraint(
                fields=("feed", "connection"), name="one_route_of_feed"
            ),
        ),
        migrations.AddConstraint(
            model_name="subscriptionroute",
            constraint=models.UniqueConstraint(
                fields=("subscription", "rank"), name="one_rank_in_route"
            ),
        ),
        migrations.AddConstraint(
            model_name="subscriptionroute",
            constraint=models.CheckConstraint(
                condition=models.Q(("share__gte", 0), ("share__lte", 1000)), name="route_share"
            ),
        ),
        tenant_rows("connections_subscriptionroute", MY_ROUTE),
        track("connections_subscriptionroute"),
    ]
