"""The index of prolonged orders whose brokers end them, built while orders are written."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("execution", "0025_order_ends")]

    operations = [
        AddIndexConcurrently(
            model_name="order",
            index=models.Index(
                condition=models.Q(
                    ("done_at__isnull", True), ("own_valid_until__gt", models.F("expires_at"))
                ),
                fields=["id"],
                name="order_prolonged",
            ),
        ),
    ]
