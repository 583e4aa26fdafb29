"""Which prices a tenant sees is asked of a function (connections 0029, ADR 0061).

The condition is that of the reading policy of sources, as before.
"""

from django.db import migrations

from common.row_security import MINE, SIGNED_IN, replace_condition

SEEN = "data_connection_id IN (SELECT public.fillcast_seen_sources())"
SEEN_WAS = (
    "data_connection_id IN (SELECT source.id FROM connections_dataconnection source"
    f" WHERE source.{MINE} OR (source.user_id IS NULL AND {SIGNED_IN}))"
)


class Migration(migrations.Migration):
    dependencies = [("prices", "0002_price_bars"), ("connections", "0029_sets_of_tenants")]
    operations = [
        replace_condition(table, "SELECT", now=SEEN, was=SEEN_WAS)
        for table in ("prices_latestquote", "prices_pricebar")
    ]
