"""The index of positions that are closed by time, built while the table is used."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("positions", "0007_close_at")]

    operations = [
        AddIndexConcurrently(
            model_name="executionposition",
            index=models.Index(
                condition=models.Q(("quantity__gt", 0), ("close_at__isnull", False)),
                fields=["close_at"],
                name="position_close_at",
            ),
        ),
    ]
