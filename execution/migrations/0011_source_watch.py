"""When the levels that we guard were last judged by each price source's quotes."""

import django.db.models.deletion
from django.db import migrations, models

from common.row_security import operator_rows


class Migration(migrations.Migration):
    dependencies = [
        ("execution", "0010_audit_run"),
        ("connections", "0001_initial"),
    ]
    operations = [
        migrations.CreateModel(
            name="SourceWatch",
            fields=[
                (
                    "source",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="connections.dataconnection",
                    ),
                ),
                ("watched_at", models.DateTimeField()),
            ],
        ),
        operator_rows("execution_sourcewatch"),
    ]
