"""The leg of the entry that opened a position: slices on hedging accounts open one each."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("positions", "0008_close_at_index")]

    operations = [
        migrations.AddField(
            model_name="executionposition",
            name="entry_leg",
            field=models.CharField(db_default="entry", default="entry", max_length=16),
        ),
    ]
