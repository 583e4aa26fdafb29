"""Prices are updated in place, many times a second; a tenant sees those of shared sources and of
their own."""

from django.db import migrations

from common.row_security import ANYBODY_KNOWN, MINE, tenant_rows

SEEN = (
    "data_connection_id IN (SELECT source.id FROM connections_dataconnection source"
    f" WHERE {MINE} OR (user_id IS NULL AND {ANYBODY_KNOWN}))"
)


class Migration(migrations.Migration):
    dependencies = [("prices", "0001_initial"), ("connections", "0002_row_security")]
    operations = [
        migrations.RunSQL(
            "ALTER TABLE prices_latestquote SET (fillfactor = 50)",
            "ALTER TABLE prices_latestquote RESET (fillfactor)",
        ),
        tenant_rows("prices_latestquote", "false", read=SEEN),
    ]
