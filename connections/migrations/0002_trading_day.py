"""The start of the trading day is a setting of the preset."""

from datetime import time

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("connections", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="tradingpreset",
            name="trading_day_start",
            field=models.TimeField(
                db_default=time(17),
                default=time(17),
                help_text="Local time at which a trading day starts, and the one before ends.",
            ),
        ),
        migrations.AlterField(
            model_name="tradingpreset",
            name="trading_day_zone",
            field=models.CharField(
                default="America/New_York",
                help_text="The zone of the trading day's start.",
                max_length=64,
            ),
        ),
    ]
