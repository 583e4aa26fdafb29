"""Queues of live rows in large tables: dead versions are removed after so many changes, not after a
fifth of the table. Else each look for what is due goes past all of them, most in an outage."""

from django.db import migrations

TABLES = ("execution_order", "positions_executionposition")
OFTEN = "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000"
AND_FAST = "autovacuum_vacuum_cost_delay = 0"
NAMES = "autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold, autovacuum_vacuum_cost_delay"


class Migration(migrations.Migration):
    dependencies = [
        ("execution", "0028_stream_lease"),
        ("positions", "0009_levels_as_the_broker_tells_them"),
    ]
    operations = [
        migrations.RunSQL(
            f"ALTER TABLE {table} SET ({OFTEN}, {AND_FAST})", f"ALTER TABLE {table} RESET ({NAMES})"
        )
        for table in TABLES
    ]
