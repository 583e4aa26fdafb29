"""The open positions by signal and by source, only for queries that name them: a key above 0.

See `positions.models.ExecutionPosition.Meta.indexes`."""

from django.contrib.postgres.operations import RemoveIndexConcurrently
from django.db import migrations, models

from common.index_migrations import BuildIndex


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("positions", "0020_keys_of_the_order")]

    operations = [
        BuildIndex(
            model_name="executionposition",
            index=models.Index(
                condition=models.Q(("quantity__gt", 0), ("signal__gt", 0)),
                fields=["signal"],
                name="position_open_by_signal",
            ),
        ),
        BuildIndex(
            model_name="executionposition",
            index=models.Index(
                condition=models.Q(("quantity__gt", 0), ("price_source__gt", 0)),
                fields=["price_source", "pair"],
                name="position_open_by_source",
            ),
        ),
        RemoveIndexConcurrently(model_name="executionposition", name="position_open_of_signal"),
        RemoveIndexConcurrently(model_name="executionposition", name="position_open_of_source"),
    ]
