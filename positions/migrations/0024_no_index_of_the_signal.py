"""Drop the index of the signal alone: `position_of_entry` begins with it, too.

Just after a large signal either one seemed to find a single row, and this one was sometimes taken:
it read the positions of all accounts for each of them (docs/adr/0064).
"""

import django.db.models.deletion
from django.db import migrations, models

OF_SIGNAL = "positions_executionposition_signal_id_c11b7599"


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("positions", "0023_position_of_entry")]

    operations = [
        migrations.RunSQL(
            f"DROP INDEX CONCURRENTLY IF EXISTS {OF_SIGNAL}",
            f"""
CREATE INDEX CONCURRENTLY IF NOT EXISTS {OF_SIGNAL} ON positions_executionposition (signal_id)
""",
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
