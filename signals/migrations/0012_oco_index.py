"""An index of the signals of OCO pairs, built while the table is used."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("signals", "0011_oco_pairs")]

    operations = [
        AddIndexConcurrently(
            model_name="signal",
            index=models.Index(
                condition=models.Q(("oco_group__isnull", False)),
                fields=["oco_group"],
                name="signal_oco",
            ),
        ),
    ]
