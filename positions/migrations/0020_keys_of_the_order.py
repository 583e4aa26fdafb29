"""A position's account and signal are those of its entry, which holds them by foreign keys."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0031_health_not_reconciled"),
        ("execution", "0045_keys_of_the_order"),  # its triggers come first
        ("positions", "0019_positions_by_account"),
        ("signals", "0027_indexes_by_feed"),
    ]

    operations = [
        migrations.AlterField(
            model_name="executionposition",
            name="connection",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="positions",
                to="connections.executionconnection",
            ),
        ),
        migrations.AlterField(
            model_name="executionposition",
            name="signal",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="positions",
                to="signals.signal",
            ),
        ),
    ]
