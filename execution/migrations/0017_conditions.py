"""Entries that wait for the condition of their signal."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0017_atr_unit"),
        ("execution", "0016_change_requester"),
        ("positions", "0005_atr"),
        ("signals", "0014_conditions"),
    ]

    operations = [
        migrations.AddField(
            model_name="order",
            name="awaits_condition",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Its signal names a time or another signal, and that condition does not hold.",
            ),
        ),
    ]
