"""Minute bars of prices."""

from django.db import migrations, models

from common.fields import AmountField
from common.row_security import MINE, SIGNED_IN, tenant_rows

SEEN = (
    "data_connection_id IN (SELECT source.id FROM connections_dataconnection source"
    f" WHERE {MINE} OR (user_id IS NULL AND {SIGNED_IN}))"
)


class Migration(migrations.Migration):
    dependencies = [("prices", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="PriceBar",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "data_connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=models.CASCADE,
                        related_name="price_bars",
                        to="connections.dataconnection",
                    ),
                ),
                ("symbol", models.CharField(help_text="Canonical BASE/QUOTE.", max_length=20)),
                (
                    "minute",
                    models.DateTimeField(help_text="Start of the minute, market clock."),
                ),
                ("bid_open", AmountField()),
                ("bid_high", AmountField()),
                ("bid_low", AmountField()),
                ("bid_close", AmountField()),
                ("ask_open", AmountField()),
                ("ask_high", AmountField()),
                ("ask_low", AmountField()),
                ("ask_close", AmountField()),
                ("spread_sum", AmountField(help_text="Sum of ask - bid over the quotes.")),
                ("quote_count", models.IntegerField()),
                (
                    "first_at",
                    models.DateTimeField(
                        help_text="Of the quote that opened the bar, market clock."
                    ),
                ),
                (
                    "last_at",
                    models.DateTimeField(help_text="Of the quote that closed it, market clock."),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["minute"], name="price_bar_minute")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("data_connection", "symbol", "minute"),
                        name="one_price_bar_a_minute",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("ask_high__gte", models.F("ask_low")),
                            ("bid_high__gte", models.F("bid_low")),
                            ("bid_low__gt", 0),
                            ("quote_count__gt", 0),
                            ("spread_sum__gte", 0),
                        ),
                        name="price_bar_in_order",
                    ),
                ],
            },
        ),
        # A tenant sees the bars of shared sources and of their own.
        tenant_rows("prices_pricebar", "false", read=SEEN),
        # The last bars are updated in place, many times a second.
        migrations.RunSQL(
            "ALTER TABLE prices_pricebar SET (fillfactor = 70)", migrations.RunSQL.noop
        ),
    ]
