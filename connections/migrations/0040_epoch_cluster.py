"""On which server each epoch's database was last seen."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("connections", "0039_held_readings")]

    operations = [
        migrations.AddField(
            model_name="epoch",
            name="cluster",
            field=models.CharField(
                blank=True,
                default="",
                db_default="",
                help_text="System identifier of the server on which trading processes checked it.",
                max_length=24,
            ),
        ),
        migrations.AlterField(
            model_name="epoch",
            name="cause",
            field=models.CharField(
                choices=[
                    ("FOUNDED", "The first epoch of this database"),
                    ("COMMAND", "Opened by an operator"),
                    ("BEHIND", "The database is older than its last known state"),
                    ("PROMOTED", "Another timeline: a standby was promoted, or a backup recovered"),
                    ("COPIED", "Another server, and no high-water mark is left to compare with"),
                ],
                max_length=10,
            ),
        ),
    ]
