"""When a position is closed by time."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0017_atr_unit"),
        ("positions", "0006_levels_frozen"),
        ("signals", "0015_time_exits"),
    ]

    operations = [
        migrations.AddField(
            model_name="executionposition",
            name="close_at",
            field=models.DateTimeField(
                help_text="Market time at which it is closed, by its signal.", null=True
            ),
        ),
    ]
