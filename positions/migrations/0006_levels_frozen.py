"""Since when a position's levels cannot be changed because the price is too near."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("positions", "0005_atr"),
    ]

    operations = [
        migrations.AddField(
            model_name="executionposition",
            name="levels_frozen_at",
            field=models.DateTimeField(
                help_text="Since when a change of its levels waits for the price to move away.",
                null=True,
            ),
        ),
    ]
