"""Accounts by broker type and lane, so that each pair is found by one step.

See `connections.joins.TYPES_AND_LANES_SQL`."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("connections", "0031_health_not_reconciled")]

    operations = [
        migrations.RemoveIndex(model_name="executionconnection", name="connection_of_type"),
        migrations.AddIndex(
            model_name="executionconnection",
            index=models.Index(
                condition=models.Q(("archived_at__isnull", True)),
                fields=["type", "lane"],
                name="connection_of_type",
            ),
        ),
    ]
