"""The index of orders that were sent as one, built while orders are written."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("execution", "0022_aggregates")]

    operations = [
        AddIndexConcurrently(
            model_name="order",
            index=models.Index(
                condition=models.Q(("aggregate_id__isnull", False)),
                fields=["aggregate_id"],
                name="order_aggregate",
            ),
        ),
    ]
