"""The index of entries that wait for a condition, built while orders are written."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("execution", "0017_conditions")]

    operations = [
        AddIndexConcurrently(
            model_name="order",
            index=models.Index(
                condition=models.Q(("awaits_condition", True), ("status", "PENDING")),
                fields=["id"],
                name="order_condition",
            ),
        ),
    ]
