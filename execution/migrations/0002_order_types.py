"""Stop-limit orders, and orders good till a date."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("execution", "0001_initial"),
    ]

    operations = [
        migrations.AlterField(
            model_name="order",
            name="order_type",
            field=models.CharField(
                choices=[
                    ("MARKET", "Market"),
                    ("LIMIT", "Limit"),
                    ("STOP", "Stop"),
                    ("STOP_LIMIT", "Stop limit"),
                ],
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="order",
            name="time_in_force",
            field=models.CharField(
                choices=[
                    ("GTC", "Good till cancelled"),
                    ("GTD", "Good till date"),
                    ("DAY", "Day"),
                    ("IOC", "Immediate or cancel"),
                    ("FOK", "Fill or kill"),
                ],
                max_length=3,
            ),
        ),
    ]
