"""The index of entries of which a part is closed later, built while orders are written."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("execution", "0034_close_fraction")]

    operations = [
        AddIndexConcurrently(
            model_name="order",
            index=models.Index(
                condition=models.Q(("close_fraction__isnull", False), ("filled_quantity__gt", 0)),
                fields=["id"],
                name="order_close_fraction",
            ),
        ),
    ]
