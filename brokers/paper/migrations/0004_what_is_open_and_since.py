"""What rests on an account, and what was executed since: asked by reconciliation."""

from django.contrib.postgres.indexes import BrinIndex
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("paper", "0003_row_security")]
    operations = [
        AddIndexConcurrently(
            model_name="paperorder",
            index=models.Index(
                fields=["account"],
                name="paper_order_open",
                condition=models.Q(status="WORKING"),
            ),
        ),
        AddIndexConcurrently(
            model_name="paperfill",
            index=BrinIndex(fields=["time"], name="paper_fill_time", autosummarize=True),
        ),
    ]
