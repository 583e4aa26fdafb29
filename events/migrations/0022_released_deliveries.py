"""Since when a held message may be sent; deliveries that failed, for the metrics of mail."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    atomic = False  # the table is used meanwhile

    dependencies = [("events", "0021_incoming_buses")]
    operations = [
        migrations.AddField(
            model_name="delivery",
            name="released_at",
            field=models.DateTimeField(
                help_text="Since when it waits for nothing any more; NULL: since its event.",
                null=True,
            ),
        ),
        AddIndexConcurrently(
            model_name="delivery",
            index=models.Index(
                condition=Q(status="FAILED"),
                fields=["channel", "event_id"],
                name="delivery_failed",
            ),
        ),
    ]
