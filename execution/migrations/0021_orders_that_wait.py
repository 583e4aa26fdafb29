"""Since when a deferred order waits, and an index of those that do: nobody else is in it."""

from django.db import migrations, models

# Statements that can run again: an interrupted migration begins at the start.
COLUMN = "ALTER TABLE execution_order ADD COLUMN IF NOT EXISTS waiting_since timestamptz"
INDEX = [
    "DROP INDEX CONCURRENTLY IF EXISTS order_waiting",  # one that was not finished is of no use
    "CREATE INDEX CONCURRENTLY order_waiting ON execution_order (connection_id)"
    " WHERE (NOT (reason = '') AND status = 'PENDING')",
]


class Migration(migrations.Migration):
    """The index is built beside trading (docs/operations.md)."""

    atomic = False
    dependencies = [("execution", "0020_fees_that_were_added")]

    operations = [
        migrations.RunSQL(
            COLUMN,
            "ALTER TABLE execution_order DROP COLUMN IF EXISTS waiting_since",
            state_operations=[
                migrations.AddField(
                    "order",
                    "waiting_since",
                    models.DateTimeField(
                        null=True,
                        help_text="Since when it waits for what `reason` says; PENDING only.",
                    ),
                ),
            ],
        ),
        migrations.RunSQL(
            INDEX,
            "DROP INDEX CONCURRENTLY IF EXISTS order_waiting",
            state_operations=[
                migrations.AddIndex(
                    "order",
                    models.Index(
                        fields=["connection"],
                        name="order_waiting",
                        condition=models.Q(
                            models.Q(("reason", ""), _negated=True), status="PENDING"
                        ),
                    ),
                ),
            ],
        ),
    ]
