"""An order is cancelled because its valid_until has passed."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("execution", "0029_trail_distance"),
    ]

    operations = [
        migrations.AlterField(
            model_name="order",
            name="pending_action",
            field=models.CharField(
                blank=True,
                choices=[
                    ("", "None"),
                    ("CANCEL", "Cancel"),
                    ("CLOSE", "Cancel the rest and close what filled"),
                    ("EXPIRE", "Cancel, because its valid_until has passed"),
                ],
                db_default="",
                default="",
                max_length=6,
            ),
        ),
    ]
