"""The latest quotes."""

from django.db import migrations, models

from common.db_functions import ClockTimestamp
from common.fields import AmountField
from common.row_security import MINE, SIGNED_IN, tenant_rows

SEEN = (
    "data_connection_id IN (SELECT source.id FROM connections_dataconnection source"
    f" WHERE {MINE} OR (user_id IS NULL AND {SIGNED_IN}))"
)


class Migration(migrations.Migration):
    initial = True
    dependencies = [("connections", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="LatestQuote",
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
                        related_name="latest_quotes",
                        to="connections.dataconnection",
                    ),
                ),
                ("symbol", models.CharField(help_text="Canonical BASE/QUOTE.", max_length=20)),
                ("bid", AmountField()),
                ("ask", AmountField()),
                ("time", models.DateTimeField(help_text="Market clock.")),
                (
                    "received_at",
                    models.DateTimeField(db_default=ClockTimestamp(), help_text="Machine time."),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("data_connection", "symbol"), name="one_latest_quote_a_symbol"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("ask__gte", models.F("bid")), ("bid__gt", 0)),
                        name="quote_in_order",
                    ),
                ]
            },
        ),
        # A tenant sees the quotes of shared sources and of their own.
        tenant_rows("prices_latestquote", "false", read=SEEN),
        # Quotes are updated in place, many times a second.
        migrations.RunSQL("ALTER TABLE prices_latestquote SET (fillfactor = 50)"),
    ]
