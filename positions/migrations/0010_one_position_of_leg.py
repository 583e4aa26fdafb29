"""Positions are unique by connection, signal and entry leg.

The new index is built while positions are written; the old constraint goes in a moment.
"""

from django.db import migrations, models

BUILD = """
CREATE UNIQUE INDEX CONCURRENTLY one_position_of_leg
ON positions_executionposition (connection_id, signal_id, entry_leg)
"""
ADOPT = """
ALTER TABLE positions_executionposition
ADD CONSTRAINT one_position_of_leg UNIQUE USING INDEX one_position_of_leg
"""


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("positions", "0009_entry_leg")]

    operations = [
        migrations.RunSQL(BUILD, "DROP INDEX CONCURRENTLY IF EXISTS one_position_of_leg"),
        migrations.RunSQL(
            ADOPT,
            "ALTER TABLE positions_executionposition DROP CONSTRAINT one_position_of_leg",
            state_operations=[
                migrations.AddConstraint(
                    model_name="executionposition",
                    constraint=models.UniqueConstraint(
                        fields=("connection", "signal", "entry_leg"), name="one_position_of_leg"
                    ),
                ),
            ],
        ),
        migrations.RemoveConstraint(model_name="executionposition", name="one_position"),
    ]
