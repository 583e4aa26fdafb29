"""A fill's account is its order's, which holds it; the entry of a trade stays, with its keys."""

import django.db.models.deletion
from django.db import migrations, models

from common.migration_sql import run_file


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0031_health_not_reconciled"),
        ("execution", "0044_comparison_requests"),
    ]

    operations = [
        run_file(__file__, "traded_entries.sql"),
        migrations.AlterField(
            model_name="fill",
            name="connection",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="fills",
                to="connections.executionconnection",
            ),
        ),
    ]
