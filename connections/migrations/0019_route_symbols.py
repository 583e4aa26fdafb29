"""Each account of a route may have symbols of its own."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("connections", "0018_freeze_level")]
    operations = [
        migrations.AddField(
            model_name="subscriptionroute",
            name="symbol_map",
            field=models.JSONField(
                blank=True,
                default=dict,
                help_text=(
                    "Canonical pair to this account's broker symbol, before the subscription's map."
                ),
            ),
        ),
    ]
