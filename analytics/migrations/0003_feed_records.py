"""The records of feeds: a row for each trade, and the figures of each feed."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

import common.fields
from common.row_security import operator_rows


class Migration(migrations.Migration):
    dependencies = [
        ("analytics", "0002_results"),
        ("signals", "0020_feed_records"),
    ]

    operations = [
        migrations.CreateModel(
            name="FeedRecord",
            fields=[
                (
                    "feed",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="signals.feed",
                    ),
                ),
                (
                    "until",
                    models.DateTimeField(
                        help_text="Market clock: later prices and signals are not in it."
                    ),
                ),
                (
                    "followers",
                    models.IntegerField(help_text="Persons with a live account that takes it now."),
                ),
                ("figures", models.JSONField()),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="FeedTrade",
            fields=[
                (
                    "signal",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="signals.signal",
                    ),
                ),
                ("pair", models.CharField(max_length=20)),
                ("direction", models.CharField(max_length=4)),
                ("published_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(help_text="Market clock.", null=True)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("OPEN", "Open"),
                            ("CLOSED", "Closed"),
                            ("NOT_ENTERED", "Not entered"),
                            ("UNKNOWN", "No price is known"),
                        ],
                        max_length=11,
                    ),
                ),
                (
                    "basis",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("PRICES", "Recorded prices"),
                            ("FILLS", "Median fill of subscribers"),
                        ],
                        max_length=6,
                    ),
                ),
                ("entry_price", common.fields.AmountField(null=True)),
                (
                    "exit_price",
                    common.fields.AmountField(
                        help_text="The mean of its exits, by their parts.", null=True
                    ),
                ),
                (
                    "percent",
                    common.fields.AmountField(
                        help_text="Of the entry price; what is open at its mark.", null=True
                    ),
                ),
                (
                    "r",
                    common.fields.AmountField(
                        help_text="In distances from the entry to its stop.", null=True
                    ),
                ),
                (
                    "marks",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=20), default=list, size=None
                    ),
                ),
                (
                    "subscribers",
                    models.IntegerField(default=0, help_text="Persons who traded it for real."),
                ),
                (
                    "real_low",
                    common.fields.AmountField(
                        help_text="25th percentile of their results, percent.", null=True
                    ),
                ),
                ("real_median", common.fields.AmountField(null=True)),
                ("real_high", common.fields.AmountField(help_text="75th percentile.", null=True)),
                (
                    "slippage",
                    common.fields.AmountField(
                        help_text="Their median, basis points, + is worse.", null=True
                    ),
                ),
                ("progress", models.JSONField(help_text="How far it was followed.")),
                ("followed_until", models.DateTimeField(help_text="Market clock.")),
                (
                    "is_final",
                    models.BooleanField(default=False, help_text="It is not computed again."),
                ),
                (
                    "feed",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="signals.feed",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "indexes": [
                    models.Index(fields=["feed", "-signal"], name="feed_trade_newest"),
                    models.Index(fields=["feed", "ended_at", "signal"], name="feed_trade_in_order"),
                    models.Index(
                        condition=models.Q(("is_final", False)),
                        fields=["feed"],
                        name="feed_trade_unfinished",
                    ),
                ],
            },
        ),
        # analytics/record_selectors.py reads for all: whose record it is decides who may see it.
        operator_rows("analytics_feedtrade"),
        operator_rows("analytics_feedrecord"),
    ]
