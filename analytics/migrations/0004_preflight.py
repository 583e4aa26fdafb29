"""Replays of a feed's last signals on an account: each row is a job."""

from decimal import Decimal

import django.db.models.deletion
from django.db import migrations, models

import common.db_functions
import common.fields
from common.row_security import MY_CONNECTION_BY_SUBSELECT, tenant_rows


class Migration(migrations.Migration):
    dependencies = [
        ("analytics", "0003_feed_records"),
        ("connections", "0023_backfill_cash_flow_equity"),
        ("signals", "0020_feed_records"),
    ]

    operations = [
        migrations.CreateModel(
            name="Preflight",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "signals_wanted",
                    models.IntegerField(help_text="How many of the feed's last signals."),
                ),
                (
                    "multiplier",
                    common.fields.AmountField(
                        default=Decimal("1"), help_text="Of the subscription it is asked for."
                    ),
                ),
                ("directions", models.CharField(max_length=4)),
                ("symbol_map", models.JSONField(blank=True, default=dict)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("running", "Running"),
                            ("ready", "Ready"),
                            ("failed", "Failed"),
                        ],
                        default="waiting",
                        max_length=7,
                    ),
                ),
                (
                    "requested_at",
                    models.DateTimeField(db_default=common.db_functions.ClockTimestamp()),
                ),
                (
                    "claimed_until",
                    models.DateTimeField(help_text="Then another worker may take it.", null=True),
                ),
                (
                    "tries",
                    models.SmallIntegerField(
                        default=0, help_text="Also fences a worker that was too slow."
                    ),
                ),
                ("signals_done", models.IntegerField(default=0)),
                ("signals_total", models.IntegerField(default=0)),
                ("result", models.JSONField(help_text="`preflight/summary.py`.", null=True)),
                ("ready_at", models.DateTimeField(null=True)),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="connections.executionconnection",
                    ),
                ),
                (
                    "feed",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="signals.feed",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "indexes": [models.Index(fields=["requested_at"], name="preflight_requested")],
                "constraints": [
                    models.UniqueConstraint(fields=("connection", "feed"), name="one_preflight")
                ],
            },
        ),
        tenant_rows("analytics_preflight", MY_CONNECTION_BY_SUBSELECT),
    ]
