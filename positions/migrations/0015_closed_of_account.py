"""The index of an account's closed positions, built while the table is used."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("positions", "0014_owner_trailing")]

    operations = [
        AddIndexConcurrently(
            model_name="executionposition",
            index=models.Index(
                condition=models.Q(("closed_at__isnull", False)),
                fields=["connection", "closed_at"],
                name="position_closed_of_account",
            ),
        ),
    ]
