"""Stop-limit orders, and orders good till a date."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("paper", "0001_initial"),
    ]

    operations = [
        migrations.AlterField(
            model_name="paperorder",
            name="order_type",
            field=models.CharField(max_length=16),
        ),
    ]
