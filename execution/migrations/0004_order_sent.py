"""An index of what accounts have sent, for limits that count it."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("connections", "0009_entry_limits"),
        ("execution", "0003_sizing"),
        ("positions", "0001_initial"),
        ("signals", "0005_order_limits"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="order",
            index=models.Index(
                condition=models.Q(("leg__startswith", "entry"), ("submitted_at__isnull", False)),
                fields=["connection", "submitted_at"],
                name="order_sent",
            ),
        ),
    ]
