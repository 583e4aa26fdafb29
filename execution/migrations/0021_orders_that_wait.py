"""Since when a deferred order waits, and an index of those that do: nobody else is in it."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """The index is built beside trading (docs/operations.md)."""

    atomic = False
    dependencies = [("execution", "0020_fees_that_were_added")]

    operations = [
        migrations.AddField(
            "order",
            "waiting_since",
            models.DateTimeField(
                null=True, help_text="Since when it waits for what `reason` says; PENDING only."
            ),
        ),
        AddIndexConcurrently(
            "order",
            models.Index(
                fields=["connection"],
                name="order_waiting",
                condition=models.Q(models.Q(("reason", ""), _negated=True), status="PENDING"),
            ),
        ),
    ]
