"""An index of routed entries that failed, for the sweep that sends them to the next account."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("execution", "0010_routes")]

    operations = [
        AddIndexConcurrently(
            model_name="order",
            index=models.Index(
                condition=models.Q(("route_state", "HERE"), ("status", "FAILED")),
                fields=["done_at"],
                name="order_route_failed",
            ),
        ),
    ]
