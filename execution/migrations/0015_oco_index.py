"""An index of the orders of OCO pairs, built while the table is used."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("execution", "0014_oco_pairs")]

    operations = [
        AddIndexConcurrently(
            model_name="order",
            index=models.Index(
                condition=models.Q(("oco_group__isnull", False)),
                fields=["oco_group", "connection"],
                name="order_oco",
            ),
        ),
    ]
