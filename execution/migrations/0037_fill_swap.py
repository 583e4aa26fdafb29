"""What brokers book for holding a position, with the fill. A constant default: no table rewrite."""

from decimal import Decimal

from django.db import migrations

import common.fields


class Migration(migrations.Migration):
    dependencies = [("execution", "0036_log_of_position")]

    operations = [
        migrations.AddField(
            model_name="fill",
            name="swap",
            field=common.fields.AmountField(
                db_default=Decimal("0"),
                decimal_places=18,
                default=Decimal("0"),
                help_text="Booked with it for holding the position: account currency, below 0 if"
                " charged.",
                max_digits=38,
            ),
        ),
    ]
