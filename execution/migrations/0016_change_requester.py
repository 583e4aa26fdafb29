"""Who requested a change of an entry, as text: an event states it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("execution", "0015_oco_index"),
    ]

    operations = [
        migrations.AddField(
            model_name="entrychange",
            name="requested_name",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Who requested it.",
                max_length=150,
            ),
        ),
    ]
