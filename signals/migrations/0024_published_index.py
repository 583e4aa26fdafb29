"""The index of published signals in their order, built while the table is used."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("signals", "0023_telegram")]

    operations = [
        AddIndexConcurrently(
            model_name="signal",
            index=models.Index(
                condition=models.Q(("published_at__isnull", False)),
                fields=["published_at", "id"],
                name="signal_published",
            ),
        ),
    ]
