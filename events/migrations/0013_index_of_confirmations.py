"""The index of requested confirmations, built while events are written."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("events", "0012_addresses_are_confirmed")]
    operations = [
        AddIndexConcurrently(
            model_name="event",
            index=models.Index(
                condition=models.Q(("kind", "channel.confirmation")),
                fields=["user_id", "created_at"],
                name="event_confirmations",
            ),
        ),
    ]
