"""The index of log lines about positions, built while lines are written."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("execution", "0035_close_fraction_index")]

    operations = [
        AddIndexConcurrently(
            model_name="executionlog",
            index=models.Index(
                condition=models.Q(("order_id__isnull", True)),
                fields=["signal_id", "connection_id"],
                name="log_of_position",
            ),
        ),
    ]
