"""The index of entries that another signal's state ends, built while orders are written."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("execution", "0027_exit_conditions")]

    operations = [
        AddIndexConcurrently(
            model_name="order",
            index=models.Index(
                condition=models.Q(("done_at__isnull", True), ("has_exit_condition", True)),
                fields=["id"],
                name="order_exit_condition",
            ),
        ),
    ]
