"""The equity of states that were stored with their flows before it was kept with them."""

from django.db import migrations

# Only of that very state: a newer one was stored without its flows, and its equity says nothing.
BACKFILL = """
UPDATE connections_cashflowread r SET equity = a.equity FROM connections_accountsnapshot a
WHERE a.connection_id = r.connection_id AND a.read_at = r.read_at AND r.equity IS NULL
"""


class Migration(migrations.Migration):
    dependencies = [("connections", "0022_cash_flow_read_equity")]

    operations = [migrations.RunSQL(BACKFILL, migrations.RunSQL.noop)]
