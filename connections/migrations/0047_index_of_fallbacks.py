"""The sources that have one as their fallback: asked of each source, every second."""

from django.db import migrations, models

from common.index_migrations import BuildIndex


class Migration(migrations.Migration):
    atomic = False  # the table is used meanwhile

    dependencies = [("connections", "0046_suspect_prices")]
    operations = [
        BuildIndex(
            model_name="dataconnection",
            index=models.Index(
                fields=["fallback"],
                condition=models.Q(fallback__isnull=False),
                name="source_fallback",
            ),
        ),
    ]
