"""What is open by a source of prices, asked about once a second in each trading process."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("positions", "0006_indexes_of_guardians")]
    operations = [
        AddIndexConcurrently(
            "executionposition",
            models.Index(
                fields=["price_source", "pair"],
                name="position_open_of_source",
                condition=models.Q(("quantity__gt", 0)),
            ),
        ),
    ]
