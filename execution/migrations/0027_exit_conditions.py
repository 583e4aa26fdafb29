"""Entries that another signal's state ends."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("execution", "0026_order_prolonged"), ("positions", "0012_exit_conditions")]

    operations = [
        migrations.AddField(
            model_name="order",
            name="has_exit_condition",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Of an entry: its signal names another one whose state ends it.",
            ),
        ),
    ]
