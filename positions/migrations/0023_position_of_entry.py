"""Positions are unique by signal, account and leg, in this order; it locks them for a moment."""

from django.db import migrations, models

ADOPT = """
ALTER TABLE positions_executionposition
ADD CONSTRAINT position_of_entry UNIQUE USING INDEX position_of_entry
"""


class Migration(migrations.Migration):
    dependencies = [("positions", "0022_index_of_entries")]

    operations = [
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
    ]
