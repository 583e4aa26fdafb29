"""The index by which a position is found beside others of its ticket, built while fills are
written."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("positions", "0011_levels_dropped_at")]
    operations = [
        AddIndexConcurrently(
            model_name="executionposition",
            index=models.Index(
                fields=["connection", "broker_position_id"],
                name="position_of_ticket",
                condition=~models.Q(broker_position_id=""),
            ),
        ),
    ]
