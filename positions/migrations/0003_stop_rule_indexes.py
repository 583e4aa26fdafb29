"""Indexes of the positions whose stop moves by rules."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("positions", "0002_stop_rules")]

    operations = [
        AddIndexConcurrently(
            model_name="executionposition",
            index=models.Index(
                condition=models.Q(
                    ("quantity__gt", 0), ("side", "BUY"), ("stop_moves_at__isnull", False)
                ),
                fields=["price_source", "pair", "stop_moves_at"],
                name="stop_moves_buy",
            ),
        ),
        AddIndexConcurrently(
            model_name="executionposition",
            index=models.Index(
                condition=models.Q(
                    ("quantity__gt", 0), ("side", "SELL"), ("stop_moves_at__isnull", False)
                ),
                fields=["price_source", "pair", "stop_moves_at"],
                name="stop_moves_sell",
            ),
        ),
    ]
