"""A user's unread notifications, which each page counts, without reading all that are kept."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # the table is used meanwhile

    dependencies = [("events", "0011_sets_of_tenants")]
    operations = [
        AddIndexConcurrently(
            model_name="notification",
            index=models.Index(
                fields=["user"],
                name="notification_unread",
                condition=models.Q(read_at__isnull=True),
            ),
        ),
    ]
