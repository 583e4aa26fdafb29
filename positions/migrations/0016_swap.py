"""What brokers booked for holding a position. A constant default: no table rewrite."""

from decimal import Decimal

from django.db import migrations

import common.fields


class Migration(migrations.Migration):
    dependencies = [("positions", "0015_closed_of_account")]

    operations = [
        migrations.AddField(
            model_name="executionposition",
            name="swap",
            field=common.fields.AmountField(
                db_default=Decimal("0"),
                decimal_places=18,
                default=Decimal("0"),
                help_text="Booked for holding it: account currency, below 0 if it was charged.",
                max_digits=38,
            ),
        ),
    ]
