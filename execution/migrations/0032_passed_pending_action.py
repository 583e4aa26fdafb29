"""An order is cancelled because a level was moved past its price."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("execution", "0031_slice_result"),
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
                    ("PASSED", "Cancel, because a level has passed its price"),
                ],
                db_default="",
                default="",
                max_length=6,
            ),
        ),
    ]
