"""What rests on an account, and what was executed since: asked by reconciliation."""

from django.contrib.postgres.indexes import BrinIndex
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("paper", "0003_row_security")]
    operations = [
        migrations.AddIndex(
            model_name="paperorder",
            index=models.Index(
                fields=["account"],
                name="paper_order_open",
                condition=models.Q(status="WORKING"),
            ),
        ),
        migrations.AddIndex(
            model_name="paperfill",
            index=BrinIndex(fields=["time"], name="paper_fill_time", autosummarize=True),
        ),
    ]
