"""One index answers for a signal's positions, and for that of an account, instead of two.

Just after a large signal either one seemed to find a single row, and the index of the signal alone
was sometimes taken: it read the positions of all accounts for each of them. The new index is built
while positions are written; the old ones go in a moment.
"""

import django.db.models.deletion
from django.db import migrations, models

BUILD = """
CREATE UNIQUE INDEX CONCURRENTLY position_of_entry
ON positions_executionposition (signal_id, connection_id, entry_leg)
"""
ADOPT = """
ALTER TABLE positions_executionposition
ADD CONSTRAINT position_of_entry UNIQUE USING INDEX position_of_entry
"""
OF_SIGNAL = "positions_executionposition_signal_id_c11b7599"


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("positions", "0021_indexes_of_open_positions")]

    operations = [
        migrations.RunSQL(BUILD, "DROP INDEX CONCURRENTLY IF EXISTS position_of_entry"),
        migrations.RunSQL(
            ADOPT,
            "ALTER TABLE positions_executionposition DROP CONSTRAINT position_of_entry",
            state_operations=[
                migrations.AddConstraint(
                    model_name="executionposition",
                    constraint=models.UniqueConstraint(
                        fields=("signal", "connection", "entry_leg"), name="position_of_entry"
                    ),
                ),
            ],
        ),
        migrations.RemoveConstraint(model_name="executionposition", name="one_position_of_leg"),
        migrations.RunSQL(
            f"DROP INDEX CONCURRENTLY IF EXISTS {OF_SIGNAL}",
            f"CREATE INDEX CONCURRENTLY {OF_SIGNAL} ON positions_executionposition (signal_id)",
            state_operations=[
                migrations.AlterField(
                    model_name="executionposition",
                    name="signal",
                    field=models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="positions",
                        to="signals.signal",
                    ),
                ),
            ],
        ),
    ]
