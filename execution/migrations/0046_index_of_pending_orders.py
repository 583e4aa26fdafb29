"""The pending orders of all accounts, only for queries that name them: `id > 0`.

See `execution.models.ALL_PENDING`. Processes that have not been restarted ask without it, and read
the table."""

from django.contrib.postgres.operations import RemoveIndexConcurrently
from django.db import migrations, models

from common.index_migrations import BuildIndex


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("execution", "0045_keys_of_the_order")]

    operations = [
        BuildIndex(
            model_name="order",
            index=models.Index(
                condition=models.Q(("id__gt", 0), ("status", "PENDING")),
                fields=["due_at"],
                name="order_pending",
            ),
        ),
        RemoveIndexConcurrently(model_name="order", name="order_due"),
    ]
