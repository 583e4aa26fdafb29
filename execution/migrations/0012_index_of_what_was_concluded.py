"""Its index, built while orders are written."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("execution", "0011_source_watch")]
    operations = [
        AddIndexConcurrently(
            model_name="order",
            index=models.Index(
                condition=models.Q(("inferred_quantity__gt", 0)),
                fields=["position"],
                name="order_inferred",
            ),
        ),
    ]
