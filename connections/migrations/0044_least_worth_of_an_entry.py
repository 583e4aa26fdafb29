from decimal import Decimal

from django.db import migrations

from common.fields import AmountField


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0043_subscription_of_a_demo"),
    ]

    operations = [
        migrations.AddField(
            model_name="instrument",
            name="worth_min",
            field=AmountField(
                db_default=Decimal(0),
                default=Decimal(0),
                help_text="Least worth of an entry, in quote currency; 0: its broker states none.",
            ),
        ),
    ]
