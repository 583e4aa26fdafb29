"""An index of the channels that list `position.opened`, which is written for their owners only."""

from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0009_browsers_as_channels"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddIndex(
            model_name="channel",
            index=models.Index(
                condition=models.Q(("is_active", True), ("kinds__has_key", "position.opened")),
                fields=["user"],
                name="channel_wants_opened",
            ),
        ),
    ]
