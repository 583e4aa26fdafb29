"""Build the index of a signal's positions by account and leg, while positions are written.

The next migration takes it into use.
"""

from django.db import migrations


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("positions", "0021_indexes_of_open_positions")]

    operations = [
        # What an interrupted build has left.
        migrations.RunSQL(
            "DROP INDEX CONCURRENTLY IF EXISTS position_of_entry", migrations.RunSQL.noop
        ),
        migrations.RunSQL(
            """
CREATE UNIQUE INDEX CONCURRENTLY position_of_entry
ON positions_executionposition (signal_id, connection_id, entry_leg)
""",
            "DROP INDEX CONCURRENTLY IF EXISTS position_of_entry",
        ),
    ]
