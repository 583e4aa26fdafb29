"""The index by which the minute scan finds recent CLOSE signals, built while signals are written."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("signals", "0015_index_of_opened_trades")]
    operations = [
        AddIndexConcurrently(
            model_name="signal",
            index=models.Index(
                fields=["published_at"],
                name="signal_published_closes",
                condition=models.Q(action="CLOSE", published_at__isnull=False),
            ),
        ),
    ]
