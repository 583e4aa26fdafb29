"""A position may be closed by its closing time."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("positions", "0010_one_position_of_leg"),
    ]

    operations = [
        migrations.AlterField(
            model_name="executionposition",
            name="close_reason",
            field=models.CharField(
                blank=True,
                choices=[
                    ("sl", "Stop loss"),
                    ("tp", "Take profit"),
                    ("time_exit", "Time exit"),
                    ("manual", "Closed through us"),
                    ("external_close", "Closed by its owner at the broker"),
                    ("dust", "The rest is too small to sell"),
                ],
                db_default="",
                default="",
                max_length=14,
            ),
        ),
    ]
